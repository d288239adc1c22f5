#!/usr/bin/env python3
"""Holds the licences and sources of everything in Cargo.lock against deny.toml, in a second and with nothing to install.

What cargo-deny would say of `licenses` and `sources` (see the head of deny.toml for why it is not run here).
"""
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def allowed(expression: str, allow: set[str]) -> bool:
    """Whether an SPDX expression can be met with allowed licences: OR needs one side, AND both."""
    text = expression.replace("/", " OR ")
    for licence in sorted(allow, key=len, reverse=True):
        text = re.sub(rf"(?<![\w.-]){re.escape(licence)}(?![\w.-]| WITH)", "True", text)
    text = re.sub(r"[A-Za-z0-9.+-]+(?: WITH [A-Za-z0-9.-]+)?", keep_words, text)
    return bool(eval(text.replace("OR", "or").replace("AND", "and"), {"__builtins__": {}}))  # only words and brackets


def keep_words(found: re.Match[str]) -> str:
    return found[0] if found[0] in ("True", "OR", "AND") else "False"


def main() -> int:
    policy = tomllib.loads((ROOT / "deny.toml").read_text())
    allow = set(policy["licenses"]["allow"])
    registries = set(policy["sources"]["allow-registry"])
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", policy["graph"]["targets"][0]]
    packages = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)["packages"]
    faults = []
    for package in packages:
        name, licence, source = f"{package['name']} {package['version']}", package["license"], package["source"]
        if not licence or not allowed(licence, allow):
            faults.append(f"{name}: licence {licence} is not allowed by deny.toml")
        if source and source.removeprefix("registry+") not in registries:
            faults.append(f"{name}: source {source} is not allowed by deny.toml")
        if any(ban["crate"] == package["name"] for ban in policy["bans"]["deny"]):
            faults.append(f"{name}: banned by deny.toml")
    print("\n".join(faults) or f"{len(packages)} crates, all with allowed licences and sources")
    return 1 if faults else 0


def test() -> None:
    allow = {"MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"}
    for good in ("MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR GPL-2.0-only) AND Unicode-3.0", "Apache-2.0 WITH LLVM-exception"):
        assert allowed(good, allow), good
    for bad in ("GPL-3.0", "MIT AND GPL-3.0", "MIT-0", "MIT WITH Odd-exception", "LGPL-2.1-or-later"):
        assert not allowed(bad, allow), bad


if __name__ == "__main__":
    test()
    sys.exit(main())
