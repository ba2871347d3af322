"""The ``wav`` plugin: a stream's tracks as ``<track>.wav``, 16-bit linear, and both sides as ``stereo.wav``.

While a stream lives its files are ``<track>.wav.part``, placed by the timeline: a gap is a hole, and reads as silence.
Any player reads them at any moment. When it is over, or the rotation cuts, they are finished, and, if so configured,
encoded. What a crash leaves is finished at the next start.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING
from weakref import WeakSet

from receiver.errors import ConfigError
from receiver.events import Event
from receiver.sinks import Plugin, Stream, each

from . import rotation
from .codec import CODECS, Bitrate, Encoding, Stopped
from .finishing import Finishing, Workshop
from .format import HEADER_BYTES
from .layout import Layout, declare
from .listing import matching
from .losses import Losses
from .rotation import SEGMENT_BYTES, SEGMENT_S, Rotation
from .tracks import Behind, Tracks

RECOVERY_S = 30.0
"""How long a start encodes what an earlier run has left. It delays the start; the rest is the next start's."""

MAX_ENCODERS = 64

if TYPE_CHECKING:
    from .encoder import Encoder

log = logging.getLogger("receiver.plugins.wav")


@asynccontextmanager
async def plugin(
    *,
    layout: Layout = "both",
    segment_s: float = SEGMENT_S,
    segment_bytes: int = SEGMENT_BYTES,
    encoding: Encoding = "wav",
    bitrate_kbps: Bitrate | None = None,
    keep_wav: bool = False,
    encoders: int = 1,
) -> AsyncIterator[Plugin]:
    """Record streams as WAV files, and finish them as FLAC, Opus or MP3 if asked to.

    ``separate``: a mono file per track. ``both``: beside these ``stereo.wav``, inbound left and outbound right, of
    streams that have both. ``stereo``: ``stereo.wav`` alone, with a silent side where one is missing; tracks of other
    names stay mono.

    All files of a stream are cut at the same samples, every ``segment_s`` seconds, or as often as keeps each file below
    ``segment_bytes``; 0 is never. What lies behind a cut goes on as ``<track>@<first sample>.wav``. So does a track
    whose file failed; what no file has is declared as ``not_recorded``, and the sink counts as failed in the end.

    With an ``encoding``, every file that the layout makes is encoded when it is finished, by one of ``encoders``
    threads, and takes the place of the WAV file once it has been read back (``keep_wav``: beside it). ``bitrate_kbps``
    is for each channel. Where that fails the WAV file stays, and the sink counts as failed.
    """
    for option, problem in _problems(encoding, bitrate_kbps, encoders, segment_s, segment_bytes):
        raise ConfigError(f"options.{option}", problem)
    encoder: Encoder | None = None
    if encoding != "wav":
        from .encoder import Encoder  # soundfile takes a tenth of a start, and who records WAV alone does without

        encoder = Encoder(CODECS[encoding], bitrate_kbps, keep_wav)
    cuts = Rotation(segment_s, segment_bytes, 1 if layout == "separate" else 2)
    shop = Workshop(layout, cuts, encoder, ThreadPoolExecutor(encoders, "wav encoder"))
    spent_s = 0.0
    begun: WeakSet[Stream] = WeakSet()

    async def sink(stream: Stream, events: AsyncIterator[Event]) -> None:
        losses = Losses(stream, shop.figures)
        finishing = Finishing(stream, shop, losses)
        resumed = stream in begun
        begun.add(stream)
        tracks = Tracks(stream, cuts, losses, finishing.add, resumed=resumed)
        try:
            if resumed:  # it has failed, and is started again
                await finishing.resume()
            await each(events, tracks.take)
            await finishing.end(tracks.close())
        except BaseException:
            await finishing.abandon(tracks.close())
            raise
        finally:
            losses.close()
        problems = [*finishing.problems, *filter(None, [losses.error()])]
        if problems:
            raise _together(problems)

    def recover(stream: Stream) -> None:
        nonlocal spent_s
        finishing = Finishing(stream, shop, Losses(stream, shop.figures))
        made = [*finishing.find(), *finishing.finish(Behind((), None, False))]
        at = monotonic()
        problems = encoder.finish(stream, made, lambda: spent_s > RECOVERY_S) if encoder is not None else []
        with shop.figures.lock:
            spent_s += monotonic() - at
        _declare_again(stream)
        if finishing.problems:
            raise _together(finishing.problems)
        if later := [one for one in problems if isinstance(one, Stopped)]:
            raise _together(later)
        for one in problems:  # another start would come to the same end
            log.error("%s: %s", stream.directory, one)

    try:
        yield Plugin(sink=sink, recover=recover, metrics=shop.figures)
    finally:
        shop.close()


def check(
    *,
    layout: Layout = "both",
    segment_s: float = SEGMENT_S,
    segment_bytes: int = SEGMENT_BYTES,
    encoding: Encoding = "wav",
    bitrate_kbps: Bitrate | None = None,
    keep_wav: bool = False,
    encoders: int = 1,
) -> list[str]:
    """What is wrong with these options here, a line for each."""
    problems = _problems(encoding, bitrate_kbps, encoders, segment_s, segment_bytes)
    return [f"options.{option}: {problem}" for option, problem in problems]


def _problems(
    encoding: Encoding, bitrate_kbps: Bitrate | None, encoders: int, segment_s: float, segment_bytes: int
) -> Iterator[tuple[str, str]]:
    codec = CODECS.get(encoding)
    if codec is not None and not codec.available:
        there = ", ".join(["wav", *(name for name, other in CODECS.items() if other.available)])
        import soundfile

        version = soundfile.__libsndfile_version__
        yield "encoding", f"libsndfile {version} cannot write {encoding}; it can write: {there}"
    if bitrate_kbps is not None and (codec is None or codec.lossless):
        yield "bitrate_kbps", f"is for opus and mp3; {encoding} has no bitrate to choose"
    if not 1 <= encoders <= MAX_ENCODERS:
        yield "encoders", f"must be 1 to {MAX_ENCODERS}"
    yield from rotation.problems(segment_s, segment_bytes)


def _declare_again(stream: Stream) -> None:
    """Say again what there is, in case the crash came before it was said at all."""
    for file in matching(stream.directory, "*.wav"):
        if file.stat().st_size >= HEADER_BYTES:
            declare(stream, file)
    for codec in CODECS.values():
        for file in matching(stream.directory, f"*{codec.suffix}"):
            if file.stat().st_size:
                stream.add_file(file, kind="audio", media_type=codec.media_type)


def _together(problems: Sequence[Exception]) -> Exception:
    """One of several, as all of them are said; a single one as it is."""
    if len(problems) == 1:
        return problems[0]
    kinds = {type(problem) for problem in problems}
    kind = kinds.pop() if len(kinds) == 1 else RuntimeError
    return kind("; ".join(str(problem) for problem in problems))
