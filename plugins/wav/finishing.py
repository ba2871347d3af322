"""Finishing: what becomes of a stream's files once they are written. They are completed, paired, encoded and declared,
in order, while the stream goes on: off the loop, by a few threads for all streams.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from receiver.sinks import Stream, StreamClosed

from .codec import NotEncoded
from .figures import Figures
from .format import HEADER_BYTES, PART, SAMPLE_BYTES, complete, read_header
from .layout import LEFT, RIGHT, Layout, declare, left_over, pair
from .listing import matching
from .losses import Losses, cause_of
from .rotation import Rotation
from .segment import Part, Segment, Written, place, track_of
from .tracks import Behind

if TYPE_CHECKING:
    from .encoder import Encoder

FINISHERS = 2
"""Threads that finish files of live streams. Where a thousand are cut in the same second, the last of them wait for
minutes; a stream that ends does not wait for others."""

MAX_AGAIN = 1000
"""Files of a stream that could not be completed yet, and are tried again. Further ones are the next start's."""

MAX_PROBLEMS = 10
"""What went wrong with a stream, of which its sink says: more are more of the same."""


@dataclass(frozen=True)
class Workshop:
    """What the streams of the plugin share."""

    layout: Layout
    rotation: Rotation
    encoder: Encoder | None
    encoders: ThreadPoolExecutor
    figures: Figures = field(default_factory=Figures)
    finishers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(FINISHERS, "wav finisher"))

    def close(self) -> None:
        """Begin nothing more."""
        self.encoders.shutdown(wait=False, cancel_futures=True)
        self.finishers.shutdown(wait=False, cancel_futures=True)


class Finishing:
    """Of one stream. ``add``, ``end`` and ``abandon`` are for the sink's loop; ``find`` and ``finish`` block."""

    __slots__ = (
        "_again",
        "_both",
        "_held",
        "_job",
        "_jobs",
        "_losses",
        "_shop",
        "_stopped",
        "_stream",
        "_waiting",
        "problems",
    )

    def __init__(self, stream: Stream, shop: Workshop, losses: Losses) -> None:
        self.problems: Sequence[Exception] = ()
        self._stream = stream
        self._shop = shop
        self._losses = losses
        self._both = False
        self._stopped = False
        self._job: Future[None] | None = None
        self._waiting: deque[Behind] | None = None  # most streams are over before their first cut
        self._held: Sequence[tuple[int, Segment]] = ()  # files that are to be paired, each with its period
        self._again: Sequence[Part] = ()
        self._jobs: Sequence[tuple[Future[list[NotEncoded]], list[Path]]] = ()

    def add(self, behind: Behind) -> None:
        """Have files finished as soon as there is a thread for it. Never waits."""
        with self._shop.figures.lock:
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append(behind)
            if self._job is None:
                self._job = self._shop.finishers.submit(self._work)

    async def resume(self) -> None:
        """Finish what an earlier call of the sink has left."""
        await asyncio.to_thread(self._resume)

    async def end(self, last: Behind) -> None:
        """Finish all there is, with the stream's last files. What goes wrong is in ``problems``."""
        waiting = await self._take_over()
        closed = [asyncio.wrap_future(file.file.close()) for file in last.files]
        await asyncio.gather(*closed, return_exceptions=True)
        await asyncio.to_thread(self._finish_all, [*waiting, last])
        for job, _ in self._jobs:
            encoding = asyncio.wrap_future(job)
            self._note(await asyncio.shield(encoding))

    async def abandon(self, last: Behind) -> None:
        """Begin nothing more, and wait for what has been begun. What is not done, the next call or start does."""
        self._stopped = True
        waiting = await self._take_over()
        written = [file for behind in (*waiting, last) for file in behind.files]
        await asyncio.gather(*(asyncio.wrap_future(file.file.close()) for file in written), return_exceptions=True)
        for file in written:
            await asyncio.to_thread(self._part, file)
        for job, wavs in self._jobs:
            if job.cancel():
                await asyncio.to_thread(self._declare, wavs)
            else:  # it comes to its end with the block that it is at
                await asyncio.gather(asyncio.wrap_future(job), return_exceptions=True)

    def find(self) -> list[Path]:
        """Take what an earlier run has left in the folder; of the finished files those that are for good.

        What is to be completed or paired is so by the next ``finish``.
        """
        rate = self._stream.format.rate
        for path in matching(self._stream.directory, f"*.wav{PART}"):
            stem = path.name.removesuffix(f".wav{PART}")
            self._again = [*self._again, Part(path, track_of(stem), place(stem), rate)]
        final: list[Path] = []
        for file in left_over(self._stream):
            if _rate(file) is None:
                continue  # whatever it is, it is not ours
            final += self._keep(Segment(file, track_of(file.stem), place(file.stem)))
        there = {part.track for part in self._again} | {segment.track for _, segment in self._held}
        self._both = there >= {LEFT, RIGHT}
        return final

    def finish(self, behind: Behind) -> list[Path]:
        """Complete files, and pair what is settled; the files that are for good now, also where others failed."""
        self._both = self._both or behind.both
        parts = [*self._again, *filter(None, map(self._part, behind.files))]
        again: list[Part] = []
        final: list[Path] = []
        for part in parts:
            try:
                file = complete(part.path, part.rate, part.data_bytes)
            except OSError as problem:
                again.append(part)
                if behind.settled is None or len(again) > MAX_AGAIN:
                    self._note([problem])
            else:
                final += self._keep(Segment(file, part.track, part.start))
        self._again = again[:MAX_AGAIN]
        return final + (self._pair(behind.settled) if not again else self._unpaired(behind.settled))

    def _part(self, written: Written) -> Part | None:
        """What there is of a file that was closed; None: nothing. What was lost of it is told. Waits for the writer."""
        problem = written.file.close().exception()
        if problem is not None:
            for start, end in written.lost():
                self._losses.found(written.name, start, end, written.rate, cause_of(written.file.error))
        path = written.file.path
        if written.landed:
            return Part(path, written.track, written.start, written.rate, written.landed * SAMPLE_BYTES)
        if written.file.error is None or written.file.error.errno != errno.EEXIST:
            with suppress(OSError):  # made by us, in vain; a new one is tried every second
                if not path.is_symlink() and path.stat().st_size < HEADER_BYTES + SAMPLE_BYTES:
                    path.unlink()
        return None

    def _keep(self, segment: Segment) -> list[Path]:
        """Take a finished file, and hold it back if it is to be paired; the files that are for good.

        One that lies where an older file of its name does, as a call that failed leaves it, takes that one's part.
        """
        if self._shop.layout == "separate" or segment.track not in (LEFT, RIGHT):
            return [segment.path]
        same = [one for one in self._held if (one[1].track, one[1].start) == (segment.track, segment.start)]
        rate = _rate(segment.path) or self._stream.format.rate
        period = self._shop.rotation.period(segment.start, rate)
        self._held = [*(one for one in self._held if one not in same), (period, segment)]
        if self._stays:
            return [segment.path]
        return [older.path for _, older in same]

    @property
    def _stays(self) -> bool:
        """Whether a file of a side is for good before it is paired."""
        return self._shop.layout == "both" and self._shop.encoder is None

    def _pair(self, settled: int | None) -> list[Path]:
        """Pair what the sides have before the period ``settled``, period by period; the files that are for good."""
        ready = [one for one in self._held if settled is None or one[0] < settled]
        self._held = [one for one in self._held if not (settled is None or one[0] < settled)]
        final: list[Path] = []
        for period in sorted({period for period, _ in ready}):
            group = [segment for number, segment in ready if number == period]
            try:
                made = pair(self._stream.directory, group, self._shop.layout, both=self._both)
            except (OSError, ValueError) as problem:
                if settled is not None and isinstance(problem, OSError):  # once more, with the next ones
                    self._held = [*self._held, *((period, segment) for segment in group)]
                    continue
                self._note([problem])
                made = None
            if not self._stays:
                final += [segment.path for segment in group if segment.path.exists()]
            final += [made] if made is not None else []
        return final

    def _unpaired(self, settled: int | None) -> list[Path]:
        """The files that are for good where one is missing as yet: in the end, those that there are."""
        return [segment.path for _, segment in self._held] if settled is None and not self._stays else []

    def _work(self) -> None:
        """In a thread: one after the other, until nothing waits."""
        while True:
            with self._shop.figures.lock:
                if not self._waiting or self._stopped:
                    self._job = None
                    return
                behind = self._waiting.popleft()
            self._finish_all([behind])

    async def _take_over(self) -> list[Behind]:
        """What waits for a thread, from now on the caller's. Waits for what a thread is at."""
        with self._shop.figures.lock:
            waiting, self._waiting = list(self._waiting or ()), None
            job = self._job
        if job is not None and not job.cancel():
            await asyncio.shield(asyncio.wrap_future(job))
        return waiting

    def _resume(self) -> None:
        self._hand_over(self.find())
        self._hand_over(self.finish(Behind((), 0, False)))

    def _finish_all(self, behinds: Sequence[Behind]) -> None:
        for behind in behinds:
            try:
                self._hand_over(self.finish(behind))
            except Exception as problem:  # whatever it is, the others have their turn
                self._note([problem])

    def _hand_over(self, final: list[Path]) -> None:
        """Encode files, or declare them as they are."""
        encoder = self._shop.encoder
        if not final or encoder is None or self._stopped:
            self._declare(final)
            return
        done = [job for job, _ in self._jobs if job.done()]
        for job in done:
            self._note(job.result())
        job = self._shop.encoders.submit(encoder.finish, self._stream, final, self._is_stopped)
        self._jobs = [*(one for one in self._jobs if one[0] not in done), (job, final)]

    def _is_stopped(self) -> bool:
        return self._stopped

    def _declare(self, wavs: list[Path]) -> None:
        with suppress(StreamClosed):  # a sink that was left behind; the next start lists them
            for wav in wavs:
                declare(self._stream, wav)

    def _note(self, problems: Sequence[Exception]) -> None:
        self.problems = [*self.problems, *problems][:MAX_PROBLEMS]


def _rate(wav: Path) -> int | None:
    with wav.open("rb") as file:
        head = read_header(file.read(HEADER_BYTES))
    return head and head[0]
