#!/usr/bin/env python3
"""Fetches ONNX Runtime's shared library, pinned by hash twice: the wheel it comes in, and the library itself.

Writes FOLDER/libonnxruntime.so. Needs Python 3.8 or newer with pip; nothing is installed. A library that is already right
stays, and a new one appears whole or not at all.
"""

import argparse
import hashlib
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import zipfile

VERSION = "1.28.0"
MEMBER = f"onnxruntime/capi/libonnxruntime.so.{VERSION}"
# SHA-256 of the library inside the wheel, by machine.
LIBRARY_SHA256 = {
    "x86_64": "aa4079d18f4ea7a5f3a94d80cd4bbe0f2740436626622d64d793803a20381083",
    "aarch64": "23a37c2994bc273e1d59a4f49af6cba5bf1cfbc29f04907ec27df375aba50a7d",
}
REQUIREMENTS = pathlib.Path(__file__).resolve().parent / "onnxruntime.txt"
INSTEAD = "set ORT_DYLIB_PATH to an ONNX Runtime library (1.24 to 1.28) of your own instead"


class Refused(Exception):
    """The library cannot be had; says why, and what to do."""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def machine() -> str:
    """This machine's name as wheels write it."""
    name = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    if sys.platform != "linux" or name not in LIBRARY_SHA256:
        raise Refused(f"no pinned library for {sys.platform} on {name}; {INSTEAD}")
    return name


def download(name: str, folder: pathlib.Path) -> pathlib.Path:
    """The wheel for that machine, its hash checked by pip."""
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--only-binary=:all:", "--implementation", "cp", "--python-version", "311", "--abi", "cp311",
        "--platform", f"manylinux_2_28_{name}", "--require-hashes", "--requirement", str(REQUIREMENTS),
        "--dest", str(folder),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise Refused(f"pip could not download onnxruntime {VERSION}; {INSTEAD}\n{ran.stderr.strip()}")
    wheels = sorted(folder.glob("onnxruntime-*.whl"))
    if len(wheels) != 1:
        raise Refused(f"pip left {len(wheels)} wheels in {folder}, expected one")
    return wheels[0]


def extract(wheel: pathlib.Path, wanted: str) -> bytes:
    """The library's bytes, their hash checked."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(MEMBER)
    except (KeyError, zipfile.BadZipFile) as error:
        raise Refused(f"{wheel.name} holds no {MEMBER}: {error}") from error
    found = sha256(content)
    if found != wanted:
        raise Refused(f"{MEMBER} has the hash {found}, expected {wanted}: not used")
    return content


def place(content: bytes, target: pathlib.Path) -> None:
    """Writes beside the target and renames, so that nobody ever loads half a library."""
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o755)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def fetch(target: pathlib.Path) -> str:
    """Makes the target right; says in a word what it took."""
    name = machine()
    wanted = LIBRARY_SHA256[name]
    if target.is_file() and sha256(target.read_bytes()) == wanted:
        os.utime(target)  # for make: newer than this script
        return "unchanged"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="onnxruntime-") as folder:
        place(extract(download(name, pathlib.Path(folder)), wanted), target)
    return "fetched"


def main(arguments: list) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", metavar="FOLDER", type=pathlib.Path, default=pathlib.Path(".ort"))
    target = parser.parse_args(arguments).into / "libonnxruntime.so"
    try:
        print(f"{target}: onnxruntime {VERSION}, {fetch(target)}")
    except (Refused, OSError) as error:
        print(f"fetch_onnxruntime: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
