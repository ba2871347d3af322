"""What a test wants to be played, as a call: an audio file, samples, or a capture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
import soundfile

from receiver.audio import Encoding
from receiver.simulate import Call, CallError, parse_keys

Audio = str | PathLike[str] | tuple[npt.NDArray[Any], int]
"""A path, or samples and their rate in the order in which soundfile has them: int16, or float within -1 and 1."""


class PlayOptions(TypedDict, total=False):
    """How something is played. For a capture only ``speed``, ``source``, ``path`` and ``token``."""

    codec: Encoding | str  # PCMU
    rate: int  # hertz on the wire; the codec's usual one
    packet_ms: int  # 20
    byte_order: Literal["little", "big"]  # of L16
    outbound: Audio  # the other side; what is played is the inbound one then
    parameters: Mapping[str, Any]  # custom parameters
    digits: str  # keys to press, as `receiver call` has them: "5@2.5,#"
    dialect: Literal["signalwire", "twilio"]  # the source's own, else signalwire
    stop: bool  # True; False: the connection is closed without a stop message
    call_id: str  # made up, as is the stream's
    stream_id: str
    speed: float | Literal["max"]  # "max"; 1 is real time
    source: str  # by name; the first one of the configuration
    path: str  # that of the source: to be given where that has parameters, or to connect elsewhere
    token: str | None  # that of the test; None: send none


CAPTURES = (".jsonl", ".jsonl.gz")
CONNECTION_OPTIONS = frozenset({"speed", "source", "path", "token"})


def as_call(what: Audio, options: PlayOptions, dialect: str, folder: Path) -> Call | Path:
    """The call that plays ``what``, or the path of a capture; samples are written to files in ``folder``. Blocks.

    Samples of shape (n, 2) are both sides of a call: inbound first. Raises CallError, and TypeError for options that
    there are not: a misspelt one would be a test of something else.
    """
    if unknown := sorted(options.keys() - PlayOptions.__optional_keys__):
        known = ", ".join(sorted(PlayOptions.__optional_keys__))
        raise TypeError(f"play has no option {', '.join(unknown)}; there are {known}")
    if isinstance(what, str | PathLike) and Path(what).name.endswith(CAPTURES):
        given = sorted(options.keys() - CONNECTION_OPTIONS)
        if given:
            raise CallError(f"a capture is played as it was recorded: {', '.join(given)} cannot be chosen")
        return Path(what)
    first = _as_file(what, folder / "inbound.wav")
    both = isinstance(what, tuple) and what[0].ndim == 2
    other = options.get("outbound")
    return Call(
        stereo=first if both else None,
        inbound=None if both else first,
        outbound=None if other is None else _as_file(other, folder / "outbound.wav"),
        encoding=_encoding(options.get("codec", Encoding.PCMU)),
        rate=options.get("rate"),
        dialect=options.get("dialect", dialect),
        parameters=options.get("parameters", {}),
        keys=parse_keys(options.get("digits", "")),
        packet_ms=options.get("packet_ms", 20),
        byte_order=options.get("byte_order", "little"),
        stop=options.get("stop", True),
        call_id=options.get("call_id"),
        stream_id=options.get("stream_id"),
    )


def speed_of(options: PlayOptions) -> float:
    """Times real time. Raises CallError."""
    speed = options.get("speed", "max")
    if speed == "max":
        return math.inf
    if isinstance(speed, str) or not speed > 0:
        raise CallError(f"speed {speed!r}: must be a number above 0, or 'max'")
    return speed


def _encoding(codec: Encoding | str) -> Encoding:
    try:
        return Encoding(codec.upper())
    except ValueError:
        raise CallError(f"codec {codec!r}: known are {', '.join(Encoding)}") from None


def _as_file(audio: Audio, path: Path) -> Path:
    if not isinstance(audio, tuple):
        if isinstance(audio, np.ndarray):
            raise CallError("samples need their rate: (samples, rate)")
        return Path(audio)
    samples, rate = audio
    if samples.dtype != np.int16 and samples.dtype.kind != "f":
        raise CallError(f"samples of the type {samples.dtype}: must be int16, or float within -1 and 1")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] != 2):
        raise CallError(f"samples of the shape {samples.shape}: must be (n,), or (n, 2) for both sides")
    if not rate > 0:
        raise CallError(f"samples at a rate of {rate}: must be above 0")
    soundfile.write(path, samples, rate, "PCM_16" if samples.dtype == np.int16 else "FLOAT")
    return path
