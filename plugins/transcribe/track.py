"""A track: its utterances, one after the other through the engine, whatever becomes of the engine."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from .cutter import Cutter
from .engine import RATE, Engine, EngineFailed, Heard, Int16Array, Recognition, Word
from .figures import Figures
from .line import Line, line
from .pending import Pending
from .settings import Settings
from .utterance import Utterance

MOST = RATE
"""Samples that an engine is given at a time: also behind a backlog it answers every second of speech."""

QUIET_S = 5.0
"""An utterance of which nothing has come for so long, by our clock, gives its place to others, and is fed again."""

AWAY_S = 10.0
"""After so much more of that it ends where it is: somebody waits to read it."""

FIRST_PAUSE_S = 0.5
"""How long a second failure on the same speech makes wait; it doubles. The first one is tried again at once."""

LAST_PAUSE_S = 30.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Desk:
    """What all tracks of all streams share."""

    engine: Engine
    settings: Settings
    pending: Pending
    figures: Figures


class Track:
    """One track of one stream. ``put`` and ``end`` never wait; ``run`` transcribes until the end."""

    def __init__(
        self,
        name: str,
        rate: int,
        cutter: Cutter,
        desk: Desk,
        say: Callable[[Line], None],
        moved: Callable[[], object],
    ) -> None:
        """``say`` is given every line, ``moved`` is called when there may be room again."""
        self.name = name
        self.starving = False
        """It has a place of the engine's, and waits for audio: who keeps that back keeps everybody waiting."""
        self.reached_s: float | None = None
        """Where what is not transcribed yet begins; None: all that was said is transcribed. For any thread."""
        self._rate = rate
        self._cutter = cutter
        self._desk = desk
        self._settings = desk.settings
        self._say = say
        self._moved = moved
        self._waiting: deque[Utterance] = deque()
        self._pending = 0
        self._ended = False
        self._news = asyncio.Event()
        self._partial_at = float("-inf")
        self._partial = ""

    @property
    def full(self) -> bool:
        """Whether as much speech waits as may."""
        return self._pending >= self._settings.pending_s * RATE

    def put(self, start: int, samples: Int16Array) -> None:
        """Take audio at 16 kHz that begins at ``start``; what is not put between is a gap."""
        before = self._cutter.spoken
        current = self._cutter.utterance
        self._take(self._cutter.put(start, samples), before, current)

    def end(self) -> None:
        """No more comes."""
        self._ended = True
        self._close()

    async def run(self) -> None:
        """Transcribe everything. Raises what the engine raises, but for EngineFailed."""
        while (utterance := await self._next()) is not None:
            await self._transcribe(utterance)
            self._waiting.popleft()
            self._tell()

    def abandon(self, why: str) -> None:
        """Say of which span there will be no transcript, if there is one. For when ``run`` was cancelled."""
        if not self._waiting:
            return
        first, last = self._waiting[0], self._waiting[-1]
        if last.end > first.settled:
            self._give_up(first, (first.settled, last.end), why)

    def _close(self) -> None:
        before = self._cutter.spoken
        current = self._cutter.utterance
        self._take(self._cutter.close(), before, current)

    def _take(self, begun: Iterable[Utterance], before: int, current: Utterance | None) -> None:
        """See to what the cutter made of the last audio."""
        self._waiting.extend(begun)
        more = self._cutter.spoken - before
        if more:
            self._pending += more
            self._desk.pending.add(more)
            self._tell()
        if more or self._cutter.utterance is not current or self._ended:
            self.starving = False
            self._news.set()

    async def _next(self) -> Utterance | None:
        while not self._waiting:
            if self._ended:
                return None
            self._news.clear()
            await self._news.wait()
        return self._waiting[0]

    async def _transcribe(self, utterance: Utterance) -> None:
        failures = 0
        while True:
            begun_at = utterance.settled
            try:
                async with self._desk.engine.recognize() as recognition:
                    finished = await self._recognize(utterance, recognition)
            except EngineFailed as failure:
                self._desk.figures.failures += 1
                finished = utterance.done
                failures = 1 if utterance.settled > begun_at else failures + 1
                if not finished and failures >= self._settings.attempts:
                    await self._skip(utterance, str(failure))
                    return
                pause_s = 0 if failures == 1 else min(FIRST_PAUSE_S * 2 ** (failures - 2), LAST_PAUSE_S)
                await asyncio.sleep(0 if finished else pause_s)
            else:
                if not finished:  # what has come while the place was given back is news as well
                    await self._comes(AWAY_S)
            if finished:
                self._desk.figures.utterances += 1
                return

    async def _recognize(self, utterance: Utterance, recognition: Recognition) -> bool:
        """Feed what is not final, and then what comes, to its end; False: nothing more has come for too long."""
        base = fed = utterance.settled
        self._partial = ""
        while True:
            while fed < utterance.end:
                samples = utterance.read(fed, MOST)
                heard = await recognition.feed(samples)
                fed += len(samples)
                self._hear(utterance, base, heard)
            if utterance.over:
                break
            self._news.clear()
            self.starving = True
            self._moved()
            try:
                if not await self._comes(QUIET_S, close=False):
                    return False
            finally:
                self.starving = False
        self._hear(utterance, base, await recognition.finish())
        self._settle(utterance, utterance.end)
        return True

    async def _comes(self, within_s: float, *, close: bool = True) -> bool:
        """Wait for more of the utterance that is being spoken, or its end. False: that did not come in time."""
        try:
            async with asyncio.timeout(within_s):
                await self._news.wait()
        except TimeoutError:
            if close:
                self._close()
            return False
        return True

    async def _skip(self, utterance: Utterance, why: str) -> None:
        """Give up what is left of an utterance, also what has not been said yet."""
        start = utterance.settled
        while True:
            self._settle(utterance, utterance.end, transcribed=False)
            if utterance.over:
                break
            self._news.clear()
            await self._news.wait()
        seconds = (utterance.end - start) / RATE
        log.error("given up on %.1f s of %s from %.1f s on: %s", seconds, self.name, start / RATE, why)
        self._give_up(utterance, (start, utterance.end), why)

    def _give_up(self, utterance: Utterance, span: tuple[int, int], why: str) -> None:
        self._desk.figures.given_up += span[1] - span[0]
        self._say(line(self.name, self._rate, span, utterance=utterance.number, error=why))

    def _hear(self, utterance: Utterance, base: int, results: Iterable[Heard]) -> None:
        """Pass on what the engine has heard in a recognition that began at ``base``."""
        for heard in results:
            start = min(max(base + heard.start, utterance.settled), utterance.end)
            end = min(max(base + heard.end, start), utterance.end)
            if heard.final:
                if heard.text.strip():
                    self._say(self._line(utterance, (start, end), heard, base))
                self._settle(utterance, end)
            elif self._settings.partials and heard.text.strip() and heard.text != self._partial:
                now = asyncio.get_running_loop().time()
                if now - self._partial_at >= self._settings.partial_s:
                    self._partial_at, self._partial = now, heard.text
                    self._say(self._line(utterance, (start, end), heard, base))

    def _line(self, utterance: Utterance, span: tuple[int, int], heard: Heard, base: int) -> Line:
        words = [_placed(word, base, span) for word in heard.words]
        return line(
            self.name, self._rate, span, utterance=utterance.number, final=heard.final, text=heard.text, words=words
        )

    def _settle(self, utterance: Utterance, position: int, *, transcribed: bool = True) -> None:
        count = utterance.settle(position)
        if count:
            self._pending -= count
            self._desk.pending.settle(count)
            if transcribed:
                self._desk.figures.speech += count
            self._tell()
            self._moved()

    def _tell(self) -> None:
        self.reached_s = self._waiting[0].settled / RATE if self._waiting else None


def _placed(word: Word, base: int, span: tuple[int, int]) -> Word:
    """A word on the stream's timeline, within the span that it is in."""
    start = min(max(base + word.start, span[0]), span[1])
    return msgspec.structs.replace(word, start=start, end=min(max(base + word.end, start), span[1]))
