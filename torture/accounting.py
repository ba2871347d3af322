"""Thousands of conversations with everything that peers, operators and sinks can do, each accounted for to the sample.

    python torture/torture.py --kinds accounting [--conversations 10000]

The machine that makes them up is a test, ``tests/test_accounting.py``, which has a hundred of them on every change.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from outcome import CannotRun, Outcome, Say, verdict

ROOT = Path(__file__).parents[1]
TEST = ROOT / "tests" / "test_accounting.py"


def run(place: Path, *, conversations: int, say: Say) -> list[Outcome]:
    """Have so many. What hypothesis says of one that is not accounted for lies in ``place``."""
    if not TEST.exists():
        raise CannotRun(f"{TEST.name} is not there: this needs the project as it is in its repository")
    say(f"{conversations} conversations")
    began = time.monotonic()
    log = place / "accounting.log"
    # Without pytest's own keeping of log lines, of which there are millions.
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:logging",
        "-p",
        "no:cacheprovider",
        "--tb=short",
        str(TEST),
    ]
    environ = {**os.environ, "ACCOUNTING_EXAMPLES": str(conversations)}
    with log.open("wb") as said:
        code = subprocess.run(command, stdout=said, stderr=said, cwd=ROOT, env=environ, check=False).returncode
    took_s = round(time.monotonic() - began)
    problems = [] if code == 0 else [f"see {log}", *_reasons(log.read_text(errors="replace"))]
    worst = "all of it" if code == 0 else "not all"
    values = {"seconds": took_s}
    asked = "received = placed + duplicate + late + rejected; samples + gaps = length"
    return [
        Outcome("accounting", "is accounted for", conversations, asked, worst, verdict(code == 0), problems, values)
    ]


def _reasons(text: str) -> list[str]:
    """The lines in which a test says what it found."""
    return re.findall(r"^E +(.*Error.*)$", text, re.MULTILINE)[:5]
