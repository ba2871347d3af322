"""The C programs of this folder, compiled by the benchmark itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
NAMES = ("load", "floor", "job")


class CannotMeasure(Exception):
    """What this machine lacks, in one sentence."""


def build(folder: Path) -> dict[str, Path]:
    """Compile everything into a folder. Raises CannotMeasure without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise CannotMeasure("a C compiler is needed (cc): on Debian, apt-get install gcc libc6-dev")
    programs = {}
    for name in NAMES:
        programs[name] = folder / name
        command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(programs[name]), str(HERE / f"{name}.c")]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise CannotMeasure(f"{name}.c does not compile here:\n{done.stderr}")
    return programs


def compiler_version() -> str:
    """The first line a compiler says of itself."""
    compiler = shutil.which("cc") or "cc"
    return subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout.split("\n", 1)[0]
