"""A call in which it is known who speaks when."""

from __future__ import annotations

import numpy as np
import pytest

from receiver.events import Samples


@pytest.fixture
def call() -> tuple[Samples, Samples]:
    """Four seconds at 8000 Hz: inbound has 440 Hz from 0.5 to 1.5 s and from 3 s on, outbound 1000 Hz from 2 to 3 s."""
    time = np.arange(32000) / 8000
    inbound = np.where(((time >= 0.5) & (time < 1.5)) | (time >= 3), np.sin(2 * np.pi * 440 * time), 0)
    outbound = np.where((time >= 2) & (time < 3), np.sin(2 * np.pi * 1000 * time), 0)
    return np.rint(8000 * inbound).astype(np.int16), np.rint(8000 * outbound).astype(np.int16)
