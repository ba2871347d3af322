"""The programs of torture/, which are scripts of one folder, and use what benchmarks/ knows of a machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

for folder in ("torture", "benchmarks"):
    if str(ROOT / folder) not in sys.path:
        sys.path.insert(0, str(ROOT / folder))

if not sys.platform.startswith("linux"):
    pytest.skip("torture needs Linux: its signals, its sockets and its /proc", allow_module_level=True)
