"""One track through an engine that may be slow, late, or dead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from receiver_plugins.transcribe import track as track_module
from receiver_plugins.transcribe.cutter import Cutter
from receiver_plugins.transcribe.engine import RATE, EngineFailed, Heard
from receiver_plugins.transcribe.figures import Figures
from receiver_plugins.transcribe.line import Line
from receiver_plugins.transcribe.pending import Pending
from receiver_plugins.transcribe.settings import Settings
from receiver_plugins.transcribe.track import Desk, Track


class Bench:
    """A track, what it says, and its engine."""

    def __init__(self, booth: Any, engine: Any = None, **settings: Any) -> None:
        self.engine = engine or booth.Counting()
        self.lines: list[Line] = []
        self.moves = 0
        chosen = Settings(**{"partial_s": 0.0, **settings})
        self.desk = Desk(self.engine, chosen, Pending(chosen.pending_total_s), Figures())
        self.position = 0
        cutter = Cutter(booth.loud, silence_s=0.3, padding_s=0.12, longest_s=chosen.max_speech_s)
        self.track = Track("inbound", 8000, cutter, self.desk, self.lines.append, self.moved)

    def moved(self) -> None:
        self.moves += 1

    def put(self, samples: Any) -> None:
        self.track.put(self.position, samples)
        self.position += len(samples)

    def run(self, *script: Callable[[], Any]) -> list[Line]:
        """Do one thing after the other while the track runs, then end it."""

        async def whole() -> None:
            running = asyncio.create_task(self.track.run())
            async with asyncio.timeout(30):
                for step in script:
                    waiting = step()
                    if waiting is not None:
                        await waiting
                self.track.end()
                await running

        asyncio.run(whole())
        return self.finals

    @property
    def finals(self) -> list[Line]:
        return [line for line in self.lines if line.final]


def test_utterances_are_said_in_order_and_placed_at_the_tracks_rate(booth: Any) -> None:
    bench = Bench(booth)
    samples = np.concatenate([booth.silence(0.6), booth.speech(0.9), booth.silence(0.6), booth.speech(0.6)])
    first, second = bench.run(lambda: bench.put(samples))
    assert (first.utterance, second.utterance) == (1, 2)
    (one, two) = bench.engine.heard()
    assert first.end - first.start == len(one) // 2 and second.end == len(samples) // 2
    assert first.text == f"{len(one)} samples"
    assert [word.text for word in second.words] == [str(len(two)), "samples"]
    assert [(word.start, word.end) for word in second.words] == [
        (second.start, second.start + len(two) // 4),
        (second.start + len(two) // 4, second.end),
    ]
    assert np.array_equal(one, samples[first.start * 2 : first.end * 2])
    assert bench.desk.figures.utterances == 2 and bench.desk.figures.speech == len(one) + len(two)
    assert bench.track.reached_s is None and not bench.track.full and not bench.desk.pending.full


def test_what_is_not_final_is_said_while_somebody_speaks(booth: Any) -> None:
    bench = Bench(booth)

    async def heard(count: int) -> None:
        await booth.until(lambda: len(bench.lines) == count)

    bench.run(
        lambda: bench.put(booth.speech(0.3)),
        lambda: heard(1),
        lambda: bench.put(booth.speech(0.3)),
        lambda: heard(2),
    )
    first, second, last = bench.lines
    assert [line.final for line in bench.lines] == [False, False, True]
    assert (first.text, second.text, last.text) == ("4800 so far", "9600 so far", "9600 samples")
    assert (first.start_s, first.end_s, second.end_s) == (0, 0.3, 0.6)


@pytest.mark.parametrize("chosen", [{"partials": False}, {"partial_s": 3600.0}])
def test_what_is_not_final_is_said_as_seldom_as_is_wanted(booth: Any, chosen: dict[str, Any]) -> None:
    bench = Bench(booth, **chosen)
    bench.run(lambda: bench.put(booth.speech(5)))
    assert len(bench.lines) - len(bench.finals) == (0 if "partials" in chosen else 1)


def fails(times: int, *, after: int = 0) -> Callable[[Any], None]:
    """An engine that dies so many times, when a recognition has been fed so many pieces."""
    left = times

    def trouble(ear: Any) -> None:
        nonlocal left
        if left and len(ear.pieces) >= after:
            left -= 1
            raise EngineFailed("it died")

    return trouble


@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_engine_that_died_is_fed_the_same_again(booth: Any, after: int) -> None:
    bench = Bench(booth, partials=False)
    bench.engine.trouble = fails(2, after=after)
    samples = booth.speech(3)
    (line,) = bench.run(lambda: bench.put(samples))
    (heard,) = bench.engine.heard()
    assert np.array_equal(heard, samples) and line.text == f"{len(samples)} samples"
    assert bench.desk.figures.failures == 2 and bench.desk.figures.utterances == 1
    assert bench.desk.figures.speech == len(samples)


class InParts:
    """An engine with a final result for every second; it dies behind the second second, once."""

    def __init__(self, booth: Any) -> None:
        self.inner = booth.Counting()
        self.began: list[int] = []
        self.dead = False

    def recognize(self) -> Any:
        outer = self

        class Place:
            async def __aenter__(self) -> Any:
                self.fed = self.told = 0
                outer.began.append(0)
                return self

            async def __aexit__(self, *_: object) -> None: ...

            async def feed(self, samples: Any) -> list[Heard]:
                if not outer.dead and self.told == 2 * RATE:
                    outer.dead = True
                    raise EngineFailed("it died")
                self.fed += len(samples)
                outer.began[-1] += len(samples)
                said = []
                while self.fed - self.told >= RATE:
                    said.append(Heard("a second", True, self.told, self.told + RATE))
                    self.told += RATE
                return said

            async def finish(self) -> list[Heard]:
                return [Heard("the rest", True, self.told, self.fed)]

        return Place()


def test_what_was_final_is_not_said_again_by_the_engine_that_follows(booth: Any) -> None:
    bench = Bench(booth, InParts(booth))
    samples = booth.speech(4.5)
    lines = bench.run(lambda: bench.put(samples))
    assert [(line.text, line.start_s, line.end_s) for line in lines] == [
        ("a second", 0, 1),
        ("a second", 1, 2),
        ("a second", 2, 3),
        ("a second", 3, 4),
        ("the rest", 4, 4.5),
    ]
    assert {line.utterance for line in lines} == {1}
    assert bench.engine.began == [2 * RATE, len(samples) - 2 * RATE]


def test_a_span_that_the_engine_always_dies_of_is_given_up_and_the_next_one_is_not(
    booth: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(booth, attempts=2)
    bench.engine.trouble = fails(2)
    with caplog.at_level(logging.ERROR):
        first, second = bench.run(
            lambda: bench.put(booth.speech(0.6)),
            lambda: booth.until(lambda: bench.desk.figures.failures == 2),
            lambda: bench.put(np.concatenate([booth.speech(0.6), booth.silence(0.6), booth.speech(0.6)])),
        )
    assert (first.error, first.text, first.start_s, first.end_s) == ("it died", "", 0, 1.32)
    assert second.error is None and second.utterance == 2
    assert bench.desk.figures.given_up == round(1.32 * RATE)
    assert bench.desk.figures.utterances == 1 and bench.desk.figures.failures == 2
    (record,) = caplog.records
    assert record.getMessage() == "given up on 1.3 s of inbound from 0.0 s on: it died"


def test_failures_on_different_speech_do_not_add_up(booth: Any) -> None:
    bench = Bench(booth, attempts=2)
    turns = iter([True, False] * 3)
    failed: set[int] = set()

    def trouble(ear: Any) -> None:
        if not ear.pieces and id(ear) not in failed and next(turns, False):
            failed.add(id(ear))
            raise EngineFailed("once each")

    bench.engine.trouble = trouble
    talk = np.concatenate([booth.speech(0.6), booth.silence(0.6)] * 3)
    lines = bench.run(lambda: bench.put(talk))
    assert [line.error for line in lines] == [None] * 3


def test_an_engine_that_fails_while_leaving_has_still_said_everything(booth: Any) -> None:
    class Leaving:
        def __init__(self) -> None:
            self.inner = booth.Counting()

        def recognize(self) -> Any:
            inner = self.inner.recognize()

            class Place:
                async def __aenter__(self) -> Any:
                    return await inner.__aenter__()

                async def __aexit__(self, *error: Any) -> None:
                    await inner.__aexit__(*error)
                    raise EngineFailed("too late")

            return Place()

    bench = Bench(booth, Leaving())
    (line,) = bench.run(lambda: bench.put(booth.speech(0.6)))
    assert line.text == "9600 samples"
    assert bench.desk.figures.failures == 1 and bench.desk.figures.utterances == 1


def test_anything_else_that_an_engine_raises_is_the_sinks_failure(booth: Any) -> None:
    bench = Bench(booth)

    def trouble(ear: Any) -> None:
        raise KeyError("a mistake")

    bench.engine.trouble = trouble
    with pytest.raises(KeyError, match="a mistake"):
        bench.run(lambda: bench.put(booth.speech(0.6)))


def test_an_utterance_that_nothing_more_comes_of_ends_and_gives_its_place_back(
    booth: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(track_module, "QUIET_S", 0.05)
    monkeypatch.setattr(track_module, "AWAY_S", 0.05)
    bench = Bench(booth)
    first, second = bench.run(
        lambda: bench.put(booth.speech(0.61)),
        lambda: booth.until(lambda: bench.finals),
        lambda: bench.put(booth.speech(0.6)),
    )
    assert first.end == second.start == round(0.61 * 8000)
    assert sum(map(len, bench.engine.heard())) == round(1.21 * RATE)


def test_an_utterance_that_nothing_comes_of_for_a_while_lets_others_go_first_and_is_whole_later(
    booth: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(track_module, "QUIET_S", 0.05)
    bench = Bench(booth)
    samples = booth.speech(1.2)

    async def somebody_else() -> None:
        async with bench.engine.recognize():
            assert not bench.finals and not bench.track.starving

    bench.engine.places = 1
    (line,) = bench.run(
        lambda: bench.put(samples[:9600]),
        lambda: booth.until(lambda: bench.engine.ears and bench.engine.ears[0].count),
        somebody_else,
        lambda: bench.put(samples[9600:]),
    )
    assert line.text == f"{len(samples)} samples"
    assert [np.array_equal(heard, samples) for heard in bench.engine.heard()] == [True]
    assert bench.desk.figures.failures == 0 and bench.desk.figures.utterances == 1


def test_whoever_keeps_audio_back_is_told_that_a_place_waits_for_it(booth: Any) -> None:
    bench = Bench(booth)
    bench.run(
        lambda: bench.put(booth.speech(0.6)),
        lambda: booth.until(lambda: bench.track.starving),
        lambda: bench.put(booth.speech(0.03)),
    )
    assert bench.moves > 0 and not bench.track.starving


def test_what_waits_is_counted_until_it_is_final(booth: Any) -> None:
    bench = Bench(booth, pending_s=1.0)
    release = asyncio.Event()
    bench.engine.trouble = lambda ear: release.wait()
    talk = np.concatenate([booth.speech(0.6), booth.silence(0.6)])

    def check() -> None:
        assert bench.track.full and bench.track.reached_s == 0
        release.set()

    bench.run(lambda: bench.put(talk), lambda: bench.put(talk), check)
    assert not bench.track.full and bench.track.reached_s is None


def test_empty_results_are_no_lines_and_odd_positions_stay_within_the_utterance(booth: Any) -> None:
    class Odd:
        def recognize(self) -> Any:
            class Place:
                async def __aenter__(self) -> Any:
                    return self

                async def __aexit__(self, *_: object) -> None: ...

                async def feed(self, samples: Any) -> list[Heard]:
                    return [Heard(" ", True, 0, 10), Heard("", False, 0, 10), Heard("back", True, -50, -20)]

                async def finish(self) -> list[Heard]:
                    return [Heard("beyond", True, 100, 10**9), Heard("", True, 0, 0)]

            return Place()

    bench = Bench(booth, Odd())
    lines = bench.run(lambda: bench.put(booth.speech(0.6)))
    assert [(line.text, line.start, line.end) for line in lines] == [("back", 5, 5), ("beyond", 50, 4800)]


def test_what_was_not_transcribed_is_said_where_it_is_given_up(booth: Any) -> None:
    bench = Bench(booth)
    bench.track.abandon("nothing was said")
    talk = np.concatenate([booth.speech(0.6), booth.silence(0.6)])
    bench.put(np.concatenate([talk, talk]))
    bench.track.abandon("not transcribed")
    (line,) = bench.lines
    assert (line.error, line.start_s, line.end_s) == ("not transcribed", 0, 1.92)
