"""Rules of trouble: many streams at once, and what happens to a sink that is slow, cancelled, or given an error."""

from __future__ import annotations

from functools import partial

import numpy as np

from receiver.events import Event
from receiver.sinks.failure import failure_text
from receiver.testing.harness import Harness
from receiver.testing.observed import Fault
from receiver.testing.profile import Profile
from receiver.testing.recorded import Recorded
from receiver.testing.scene import speech

LATE_S = 3.0
"""How much later than it should a sink may end that was cancelled: a slow machine is not its fault."""


class TroubleRules(Profile):
    """Streams that do not go as they should."""

    def test_two_streams_at_once_are_kept_apart(self, sink_harness: Harness) -> None:
        """What a sink knows of a stream is that stream's: many run at once.

        (Options, and what is shared by all streams)
        """
        h = sink_harness
        one, other = h.speech("two streams at once"), h.scene("two streams at once")
        other.id = f"{other.id[:-1]}f"
        for track, samples in speech(self.rate, self.seconds).items():
            other.audio(track, np.ascontiguousarray(samples[::-1]))

        async def both() -> list[Recorded]:
            async with h.open("both") as stage:
                streams = [(await stage.begin(scene), scene) for scene in (one, other)]
                for step in range(10):
                    for stream, scene in streams:
                        await stage.publish(stream, scene, since=step / 10, upto=(step + 1) / 10)
                    for stream, _ in streams:  # so that both are in the middle of it
                        await stage.taken(stream)
                ends = [await stage.end(stream, scene) for stream, scene in streams]
                return [h.ended_well(recorded, scene) for recorded, scene in zip(ends, (one, other), strict=True)]

        together = h.run(both)
        for recorded in together:
            h.files_are_right(recorded)
        if self.repeatable:
            for scene, recorded in zip((one, other), together, strict=True):
                (alone,) = h.play(scene, place="alone")
                h.same(alone, recorded, "of a stream while there was another one")

    def test_a_quiet_stream_holds_up_no_other(self, sink_harness: Harness) -> None:
        """A stream that is live, and says nothing, is nothing that others wait for (What happens if …)."""
        h = sink_harness
        quiet, other = h.speech("a stream that was quiet meanwhile"), h.speech("a stream while another one was quiet")
        other.id = f"{other.id[:-1]}f"

        async def scenario() -> None:
            async with h.open() as stage:
                stream = await stage.begin(quiet)
                await stage.publish(stream, quiet, upto=0.2)
                await stage.taken(stream)
                h.ended_well(await stage.play(other), other)
                await stage.publish(stream, quiet, since=0.2)
                h.ended_well(await stage.end(stream, quiet), quiet)

        h.run(scenario)

    def test_what_was_dropped_is_a_gap_like_any_other(self, sink_harness: Harness) -> None:
        """Audio that a slow sink has no room for is dropped, and it sees a gap (What happens if …)."""
        h = sink_harness

        async def scenario(overflow: str) -> None:
            async with h.open(overflow, buffer_s=min(0.3, self.seconds / 4), overflow=overflow) as stage:
                scene = h.speech(f"a stream that it was too slow for ({overflow})")
                stage.observed.go.clear()
                stream = await stage.begin(scene)
                await stage.publish(stream, scene)
                stage.observed.go.set()
                recorded = h.ended_well(await stage.end(stream, scene), scene)
                h.spans_are_right(recorded, scene)
                h.files_are_right(recorded)

        for overflow in ("drop_newest", "drop_oldest"):
            h.run(partial(scenario, overflow))

    def test_it_does_not_block_its_loop(self, sink_harness: Harness) -> None:
        """What blocks in an async def stands still on all streams of the sink (What happens if …)."""
        h, scene = sink_harness, sink_harness.speech()

        async def scenario() -> float:
            async with h.open() as stage:
                h.ended(await stage.play(scene), scene)
            return stage.observed.stood_still_s

        if (stood_still_s := h.run(scenario)) > self.blocks_s:
            raise h.fail(
                f"kept its event loop from running for {stood_still_s:.1f} s; blocks_s allows {self.blocks_s:g} s. "
                "Give the work to asyncio.to_thread or a process, or make the sink an ordinary function"
            )

    def test_an_exception_ends_one_stream_alone(self, sink_harness: Harness) -> None:
        """A sink that raises hears no more of this stream, and the next one is a new one (What happens if …)."""
        h = sink_harness
        first, second = h.speech("a stream on which its events raised"), h.speech("the stream after one that failed")
        second.id = f"{second.id[:-1]}f"

        async def scenario() -> None:
            async with h.open() as stage:
                stage.observed.fault = _failing(5)
                recorded = h.ended(await stage.play(first), first)
                if recorded.told["sinks"][h.name]["status"] == "cancelled":
                    raise h.fail("did not return when its events had raised, and was cancelled")
                stage.observed.fault = None
                h.files_are_right(h.ended_well(await stage.play(second), second))

        h.run(scenario)

    def test_it_ends_when_it_is_cancelled(self, sink_harness: Harness) -> None:
        """A sink that is cancelled has a second to clean up; then it is left behind (What happens if …)."""
        h = sink_harness
        first, second = h.speech("a stream that was abandoned"), h.speech("the stream after one that was abandoned")
        second.id = f"{second.id[:-1]}f"

        async def scenario() -> None:
            async with h.open() as stage:
                stream = await stage.begin(first)
                await stage.publish(stream, first, upto=0.5)
                await stage.taken(stream)
                stream.abandon()
                returned = await stage.returned(LATE_S)  # before its stream ends: it might come to that end instead
                await stage.end(stream, first)
                if not returned:
                    raise h.left_behind(first)
                if raised := stage.observed.raised:
                    raise h.fail(f"raised {failure_text(raised[0])} when it was cancelled")
                h.files_are_right(h.ended_well(await stage.play(second), second))

        h.run(scenario)

    def test_it_can_be_started_again(self, sink_harness: Harness) -> None:
        """A sink that is started again may see an event twice, and finds its way back (Starting again)."""
        h, scene = sink_harness, sink_harness.speech("a stream on which it was started again")
        if not self.restarts:
            h.skip("this plugin does not say that it can be started again: restarts = True")

        async def scenario() -> None:
            async with h.open(on_error="restart") as stage:
                stage.observed.fault = _failing(5)
                stream = await stage.begin(scene)
                await stage.publish(stream, scene)
                recorded = h.ended(await stage.end(stream, scene), scene)
                if recorded.told["sinks"][h.name]["status"] != "ok":
                    raised = [line.partition(": ")[2] for line in stage.log if line.startswith("sink_restarting")]
                    last = raised[-1] if len(raised) > 1 else "nothing, and did not return"  # the first was planted
                    raise h.fail(f"did not find its way back; when it was started again it raised {last}")
                h.spans_are_right(recorded, scene)
                h.files_are_right(recorded)

        h.run(scenario)


def _failing(number: int) -> Fault:
    """A fault that strikes once, at the event of this number."""
    seen = iter(range(1, number + 1))

    def fault(event: Event) -> None:
        if next(seen, 0) == number:
            raise OSError("an error that the conformance suite has planted")

    return fault
