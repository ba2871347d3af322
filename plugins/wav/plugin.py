"""The ``wav`` plugin: a stream's tracks as ``<track>.wav``, 16-bit linear, and both sides as ``stereo.wav``.

While a stream lives its files are ``<track>.wav.part``, placed by the timeline: a gap is a hole, and reads as silence.
Any player reads them at any moment. When it is over they are finished, and, if so configured, encoded. What a crash
leaves is finished at the next start.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING
from weakref import WeakSet

from receiver.errors import ConfigError
from receiver.events import Event
from receiver.sinks import Plugin, Stream, each

from .codec import CODECS, Bitrate, Encoding, NotEncoded, Stopped
from .format import HEADER_BYTES, PART, complete
from .layout import Layout, declare, lay_out, left_over
from .tracks import Tracks

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
    encoding: Encoding = "wav",
    bitrate_kbps: Bitrate | None = None,
    keep_wav: bool = False,
    encoders: int = 1,
) -> AsyncIterator[Plugin]:
    """Record streams as WAV files, and finish them as FLAC, Opus or MP3 if asked to.

    ``separate``: a mono file per track. ``both``: beside these ``stereo.wav``, inbound left and outbound right, of
    streams that have both. ``stereo``: ``stereo.wav`` alone, with a silent side where one is missing; tracks of other
    names stay mono. A file beyond 4 GiB keeps unknown sizes in its header: players read it, some show no length.

    With an ``encoding``, every file that the layout makes is encoded when the stream is over, by one of ``encoders``
    threads, and takes the place of the WAV file once it has been read back (``keep_wav``: beside it). ``bitrate_kbps``
    is for each channel. Where that fails the WAV file stays, and the sink counts as failed.
    """
    for option, problem in _problems(encoding, bitrate_kbps, encoders):
        raise ConfigError(f"options.{option}", problem)
    encoder: Encoder | None = None
    if encoding != "wav":
        from .encoder import Encoder  # soundfile takes a tenth of a start, and who records WAV alone does without

        encoder = Encoder(CODECS[encoding], bitrate_kbps, keep_wav)
    pool = ThreadPoolExecutor(encoders, "wav encoder")
    spent_s = 0.0
    begun: WeakSet[Stream] = WeakSet()

    async def sink(stream: Stream, events: AsyncIterator[Event]) -> None:
        if stream in begun:  # it has failed, and is started again: what there is becomes a file segment of its own
            await asyncio.to_thread(_complete, stream, tell=encoder is None)
        begun.add(stream)
        tracks = Tracks(stream.directory)
        try:
            await each(events, tracks.take)
        finally:
            closed = tracks.close()
        for done in closed:
            await asyncio.wrap_future(done)
        made, problem = await asyncio.to_thread(made_of, stream, tracks.paths())
        problems = await _in_pool(pool, encoder, stream, made) if encoder is not None else []
        if problem is not None:
            raise problem
        if problems:
            raise _together(problems)

    def made_of(stream: Stream, parts: list[Path]) -> tuple[list[Path], Exception | None]:
        """The WAV files of a stream, declared if that is what they stay, and why one is missing."""
        made, problem = lay_out(stream, parts, layout)
        if encoder is not None:
            return made + left_over(stream, made), problem  # of a call of this sink that has failed
        _declare(stream, made)
        return made, problem

    def recover(stream: Stream) -> None:
        nonlocal spent_s
        made, problem = made_of(stream, sorted(stream.directory.glob(f"*.wav{PART}")))
        at = monotonic()
        problems = encoder.finish(stream, made, lambda: spent_s > RECOVERY_S) if encoder is not None else []
        spent_s += monotonic() - at
        _declare_again(stream)
        if problem is not None:
            raise problem
        if later := [one for one in problems if isinstance(one, Stopped)]:
            raise _together(later)
        for one in problems:  # another start would come to the same end
            log.error("%s: %s", stream.directory, one)

    try:
        yield Plugin(sink=sink, recover=recover)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def check(
    *,
    layout: Layout = "both",
    encoding: Encoding = "wav",
    bitrate_kbps: Bitrate | None = None,
    keep_wav: bool = False,
    encoders: int = 1,
) -> list[str]:
    """What is wrong with these options here, a line for each."""
    return [f"options.{option}: {problem}" for option, problem in _problems(encoding, bitrate_kbps, encoders)]


def _problems(encoding: Encoding, bitrate_kbps: Bitrate | None, encoders: int) -> Iterator[tuple[str, str]]:
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


def _complete(stream: Stream, *, tell: bool) -> None:
    """End the files of a call of the sink that has failed. Where they are to be encoded, that is told later."""
    for part in sorted(stream.directory.glob(f"*.wav{PART}")):
        wav = complete(part, stream.format.rate)
        if tell:
            declare(stream, wav)


async def _in_pool(pool: ThreadPoolExecutor, encoder: Encoder, stream: Stream, wavs: list[Path]) -> list[NotEncoded]:
    """Encode and declare, in a thread of the pool. Where this is cancelled, what is not done stays WAV."""
    stopped = threading.Event()
    job = pool.submit(encoder.finish, stream, wavs, stopped.is_set)
    try:
        return await asyncio.shield(asyncio.wrap_future(job))
    except asyncio.CancelledError:
        stopped.set()
        if job.cancel():
            await asyncio.to_thread(_declare, stream, wavs)
        else:  # it comes to its end with the block that it is at
            await asyncio.gather(asyncio.wrap_future(job), return_exceptions=True)
        raise


def _declare(stream: Stream, wavs: list[Path]) -> None:
    for wav in wavs:
        declare(stream, wav)


def _declare_again(stream: Stream) -> None:
    """Say again what there is, in case the crash came before it was said at all."""
    for file in sorted(stream.directory.glob("*.wav")):
        if file.stat().st_size >= HEADER_BYTES:
            declare(stream, file)
    for codec in CODECS.values():
        for file in sorted(stream.directory.glob(f"*{codec.suffix}")):
            if file.stat().st_size:
                stream.add_file(file, kind="audio", media_type=codec.media_type)


def _together(problems: Sequence[NotEncoded]) -> NotEncoded:
    return NotEncoded("; ".join(str(problem) for problem in problems))
