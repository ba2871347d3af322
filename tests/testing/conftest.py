"""Something to play."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from receiver.events import Samples
from receiver.simulate import SPEECH


@pytest.fixture
def speech() -> Path:
    """Somebody who speaks for 21 s."""
    return SPEECH / "inbound.flac"


@pytest.fixture
def tone() -> Samples:
    """Half a second, at 8000 Hz."""
    return np.rint(8000 * np.sin(np.arange(4000) * 0.3)).astype(np.int16)
