"""Tests of fetch_onnxruntime.py that need no network: `python3 -m unittest` in this folder."""

import contextlib
import io
import pathlib
import tempfile
import unittest
import zipfile
from unittest import mock

import fetch_onnxruntime as fetch


def wheel(folder: pathlib.Path, members: dict) -> pathlib.Path:
    path = folder / "onnxruntime-0-test.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


class Fetch(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        self.hashes = mock.patch.dict(fetch.LIBRARY_SHA256, {"x86_64": fetch.sha256(b"right")})
        self.hashes.start()
        self.addCleanup(self.hashes.stop)
        patched = mock.patch.object(fetch.platform, "machine", lambda: "x86_64")
        patched.start()
        self.addCleanup(patched.stop)

    def fetched(self, members: dict):
        """Runs it with a wheel of these members instead of pip's; gives the exit code and what it said."""
        said = io.StringIO()
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            made = wheel(pathlib.Path(folder), members)
            with mock.patch.object(fetch, "download", return_value=made) as download:
                code = fetch.main(["--into", str(self.folder / "ort")])
        return code, said.getvalue(), download.called

    def test_fetches_once_and_replaces_what_is_wrong(self):
        target = self.folder / "ort" / "libonnxruntime.so"
        code, said, asked = self.fetched({fetch.MEMBER: b"right"})
        self.assertEqual((code, target.read_bytes(), asked), (0, b"right", True))
        code, said, asked = self.fetched({})
        self.assertEqual((code, asked), (0, False))
        self.assertIn("unchanged", said)
        target.write_bytes(b"half")
        code, said, asked = self.fetched({fetch.MEMBER: b"right"})
        self.assertEqual((code, target.read_bytes(), asked), (0, b"right", True))

    def test_a_wheel_with_another_library_is_not_used(self):
        for members, says in (({fetch.MEMBER: b"wrong"}, "not used"), ({"other": b"right"}, "holds no")):
            code, said, _ = self.fetched(members)
            self.assertEqual(code, 1)
            self.assertIn(says, said)
            self.assertFalse((self.folder / "ort" / "libonnxruntime.so").exists())

    def test_a_machine_without_a_pinned_library_is_told_what_to_do(self):
        with mock.patch.object(fetch.platform, "machine", lambda: "riscv64"):
            code, said, asked = self.fetched({})
        self.assertEqual((code, asked), (1, False))
        self.assertIn("ORT_DYLIB_PATH", said)


if __name__ == "__main__":
    unittest.main()
