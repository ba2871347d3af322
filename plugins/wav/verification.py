"""Reading an encoded file back, before the WAV file that it was made of may go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from .audio_file import AudioFile
from .codec import Codec
from .likeness import Likeness
from .source import Source


def difference(encoded: Path, source: Source, codec: Codec, check: Callable[[], object] = lambda: None) -> str | None:
    """In what a file differs from its source, in words; None: it holds it. Reads both in lock-step, block by block.

    The format, the rate, the channels and the length have to be right, each to the last sample: decoders take off what
    an encoder puts before and after the audio, as the file tells them (Opus: pre-skip and the last granule position,
    RFC 7845; MP3: delay and padding in LAME's info frame). A lossless file has to hold every sample, and a lossy one
    what ``Likeness`` asks. ``check`` is called for every block, and may raise to end this.

    Blocks. Raises OSError for what cannot be opened, and what ``check`` does.
    """
    rate = codec.rate(source.rate)
    try:
        with encoded.open("rb") as opened, AudioFile(opened) as file:
            said = (file.format, file.subtype, file.samplerate, file.channels, file.frames)
            wanted = (codec.container, codec.subtype, rate, source.channels, source.length(rate))
            if said != wanted:
                return f"it is {_shape(*said)}, and should be {_shape(*wanted)}"
            return (_exact if codec.lossless else _alike)(file, source, rate, check)
    except soundfile.SoundFileError as problem:
        return f"it cannot be read: {problem}"


def _exact(file: AudioFile, source: Source, rate: int, check: Callable[[], object]) -> str | None:
    position = 0
    for block in source.ints():
        check()
        read = file.read(len(block), dtype="int16", always_2d=True)
        if not np.array_equal(read, block):
            return f"the samples are not the same after {position / rate:.1f} s"
        position += len(block)
    return _end(file)


def _alike(file: AudioFile, source: Source, rate: int, check: Callable[[], object]) -> str | None:
    likeness = Likeness(rate, source.channels)
    position = 0
    for block in source.floats(rate):
        check()
        read = file.read(len(block), dtype="float32", always_2d=True)
        position += len(read)
        if len(read) != len(block):
            return f"it ends at {position / rate:.1f} s, and should be {source.length(rate) / rate:.1f} s long"
        likeness.add(block, read)
    return _end(file) or likeness.problem()


def _end(file: AudioFile) -> str | None:
    return "there is more in it than there should be" if len(file.read(1, dtype="int16")) else None


def _shape(container: str, subtype: str, rate: int, channels: int, frames: int) -> str:
    return f"{container} {subtype} of {channels} x {frames} samples at {rate} Hz"
