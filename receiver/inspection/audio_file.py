"""A track's audio as a sink left it: a file, measured like the track itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from receiver.events import Gap
from receiver.inspection.envelope import Envelope

READ_SAMPLES = 1 << 16


def measure(path: Path, gaps: Sequence[Gap], channel: int | None = None) -> Envelope:
    """Read a file once, all channels as one or one of them alone, and leave out the gaps, in which it is silent.

    A file of another rate than the track's is measured with its gaps. Raises OSError, IndexError for a channel that is
    not there, or what soundfile raises.
    """
    with path.open("rb") as opened, soundfile.SoundFile(opened) as file:
        envelope = Envelope(file.samplerate)
        left = [gap for gap in gaps if gap.rate == file.samplerate]
        left.reverse()
        position = 0
        for block in file.blocks(READ_SAMPLES, dtype="int16", always_2d=True):
            if channel is None and block.shape[1] > 1:
                mono = block.mean(axis=1).astype(np.int16)
            else:
                mono = np.ascontiguousarray(block[:, channel or 0])
            start, end = position, position + len(mono)
            while left and left[-1].start < end:
                gap = left[-1]
                if gap.start > start:
                    envelope.add(start, mono[start - position : gap.start - position])
                start = max(start, min(gap.end, end))
                if gap.end > end:
                    break
                left.pop()
            if start < end:
                envelope.add(start, mono[start - position :])
            position = end
        return envelope
