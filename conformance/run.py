"""The cases of the Autobahn test suite, groups 1 to 7 and 10, against our listener; a table, and result.json.

    python conformance/run.py [--write]

The suite needs a Python 2.7, or a PyPy of it, and is installed from PyPI into ``.venv-autobahn``. Without one this says
so and is content. Exit code 1 where a case fails that may not.
"""

from __future__ import annotations

import argparse
import asyncio
import glob
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

from echo import PATHS, echoing

SUITE = "autobahntestsuite==25.10.1"
VIRTUALENV = "virtualenv==20.15.1"  # the last one that makes environments of Python 2.7
GROUPS = ("1", "2", "3", "4", "5", "6", "7", "10")
"""Not 9, which is about messages of up to 16 MiB, and not 12 and 13, which are about compression: we refuse both."""

MAY_FAIL = {"7.1.5": "a close frame within a fragmented message is a protocol error to us, as it is to websockets"}
GOOD = ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED")

ROOT = Path(__file__).parent
RESULT = ROOT / "result.json"
ENVIRONMENT = ROOT.parent / ".venv-autobahn"
NAMES = ("pypy", "pypy2", "pypy2.7", "python2.7", "python2")


def old_python() -> str | None:
    """A Python 2.7 with pip, or None."""
    pyenv = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    found = [os.environ.get("PYTHON27"), *map(shutil.which, NAMES)]
    found += sorted(glob.glob(f"{pyenv}/versions/2.7.*/bin/python") + glob.glob(f"{pyenv}/versions/pypy2*/bin/pypy"))
    for python in filter(None, found):
        asked = [python, "-c", "import sys, pip; sys.exit(sys.version_info[:2] != (2, 7))"]
        if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
            return python
    return None


def suite() -> str | None:
    """The program of the suite, which is installed if it is not yet; None where there is no Python for it."""
    program = ENVIRONMENT / "bin" / "wstest"
    if program.exists():
        return str(program)
    python = old_python()
    if python is None:
        return None
    print(f"Installing {SUITE} for {python} into {ENVIRONMENT.name} ...", flush=True)
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    quietly = ["--disable-pip-version-check", "--quiet", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "pip", "install", *quietly, "--target", folder, VIRTUALENV], check=True)
        environ = {**os.environ, "PYTHONPATH": folder}
        made = [python, "-m", "virtualenv", "--quiet", "--no-download", str(ENVIRONMENT)]
        subprocess.run(made, check=True, env=environ)
    installed = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", *quietly, SUITE]
    subprocess.run(installed, check=True)
    return str(program)


async def run(program: str) -> dict[str, dict[str, Any]]:
    """Run every case on every path: by path, then by case, what the suite says of it."""
    with tempfile.TemporaryDirectory() as folder:
        async with echoing() as address:
            spec = {
                "outdir": folder,
                "servers": [{"agent": path, "url": address + path} for path in PATHS],
                "cases": [f"{group}.*" for group in GROUPS],
                "exclude-cases": [],
                "exclude-agent-cases": {},
            }
            (Path(folder) / "spec.json").write_text(json.dumps(spec))
            arguments = ["--mode", "fuzzingclient", "--spec", f"{folder}/spec.json"]
            process = await asyncio.create_subprocess_exec(
                program, *arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            said, _ = await process.communicate()
        try:
            told: dict[str, dict[str, Any]] = json.loads((Path(folder) / "index.json").read_text())
        except FileNotFoundError:
            sys.exit(said.decode() + "The suite has written no result.")
    return told


def behaviours(cases: dict[str, Any]) -> dict[str, dict[str, int]]:
    """How often the suite says what: of the messages, and of the close."""
    return {
        "messages": dict(Counter(case["behavior"] for case in cases.values()).most_common()),
        "close": dict(Counter(case["behaviorClose"] for case in cases.values()).most_common()),
    }


def number(case: str) -> list[int]:
    return [int(part) for part in case.split(".")]


def main() -> int:
    parser = argparse.ArgumentParser(description="The Autobahn test suite against the receiver's listener.")
    parser.add_argument("--write", action="store_true", help="keep the result in result.json")
    write = parser.parse_args().write
    program = suite()
    if program is None:
        print("Not run: the Autobahn test suite needs a Python 2.7 with pip, or a PyPy 2.7, and none was found.")
        print("With pyenv: pyenv install 2.7.18. Elsewhere: make conformance PYTHON27=/path/to/python2.7")
        return 0
    told = asyncio.run(run(program))
    failed: list[str] = []
    result: dict[str, Any] = {
        "suite": SUITE.replace("==", " "),
        "groups": list(GROUPS),
        "python": platform.python_version(),
        **{name: version(name) for name in ("uvicorn", "websockets", "uvloop")},
        "may fail": MAY_FAIL,
        "paths": {},
    }
    for path in PATHS:
        cases = told[path]
        odd = {
            case: [cases[case]["behavior"], cases[case]["behaviorClose"]]
            for case in sorted(cases, key=number)
            if (cases[case]["behavior"], cases[case]["behaviorClose"]) not in (("OK", "OK"), ("OK", "INFORMATIONAL"))
        }
        failed += [
            f"{path} {case}" for case, said in odd.items() if case not in MAY_FAIL and not set(said) <= set(GOOD)
        ]
        result["paths"][path] = {
            "cases": len(cases),
            **behaviours(cases),
            "not OK": {case: " / ".join(said) for case, said in odd.items()},
        }
        print(f"{path}: {len(cases)} cases")
        for aspect in ("messages", "close"):
            counted = ", ".join(f"{count} {behaviour}" for behaviour, count in behaviours(cases)[aspect].items())
            print(f"  {aspect:9}{counted}")
        for case, said in odd.items():
            print(f"  {case:9}{' / '.join(said)}{'   (may fail)' if case in MAY_FAIL else ''}")
    if write:
        RESULT.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(f"FAILED: {', '.join(failed)}" if failed else "Nothing failed that may not.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
