"""The benchmark's programs, which are scripts of one folder."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All C programs, compiled."""
    from programs import build

    if not sys.platform.startswith("linux") or not shutil.which("cc"):
        pytest.skip("the load generator needs Linux and a C compiler")
    return build(tmp_path_factory.mktemp("programs"))
