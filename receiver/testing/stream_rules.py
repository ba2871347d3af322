"""Rules of one stream: whatever may happen on it is taken, and what a sink makes of it is right."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from receiver.events import Annotation, Digit, Discontinuity, EndReason, Marked
from receiver.testing.harness import Harness
from receiver.testing.profile import Profile
from receiver.testing.scene import Unheard, speech
from receiver.testing.threaded import run_receiver

ODD = (1, 37, 160, 499, 2, 1000)

LINGER_S = 0.2
"""How long a plugin stays open behind its last stream, for what it may have forgotten to wait for."""


class StreamRules(Profile):
    """One stream after the other."""

    def test_it_takes_a_stream_to_its_end(self, sink_harness: Harness) -> None:
        """A sink returns when its events have ended, and raises nothing (What a sink is given)."""
        sink_harness.play(sink_harness.speech())

    def test_it_takes_a_real_call(self, sink_harness: Harness, tmp_path: Path) -> None:
        """What a platform sends over a WebSocket is what a sink is made for (Five minutes)."""
        h = sink_harness
        both = speech(self.rate, self.seconds)
        stereo = np.stack((both["inbound"], both["outbound"]), axis=1)
        table = {"use": h.use, "options": h.options, "finish_timeout_s": self.finish_s}
        with run_receiver(tmp_path / "call", sinks={h.name: table}, base=h.base) as server:
            recorded = server.play((stereo, self.rate), codec="L16", rate=self.rate, parameters=self.parameters)
        h.ended_well(recorded, h.scene("a real call"))
        h.files_are_right(recorded)

    def test_it_takes_a_stream_without_any_audio(self, sink_harness: Harness) -> None:
        """A call may end before anybody was heard: no track, or one that is all gap (What a sink is given)."""
        h = sink_harness
        nothing = h.scene("a stream without any audio", tracks=()).over(EndReason.CLOSE)
        silent = h.scene("a stream that is one long gap").gap("inbound", 3.0)
        for number, scene in enumerate((nothing, silent)):
            (recorded,) = h.play(scene, place=str(number))
            h.files_are_right(recorded)

    def test_it_takes_a_stream_however_it_ends(self, sink_harness: Harness) -> None:
        """A connection may break, a server may stop: the end has many reasons, at any moment.

        (What a sink is given)
        """
        h = sink_harness
        reasons = [reason for reason in EndReason if reason is not EndReason.START_TIMEOUT]
        samples = speech(self.rate, self.seconds)["inbound"][: self.rate // 3 + 7]
        scenes = []
        for number, reason in enumerate(reasons):
            scene = h.scene(f"a stream that ends with {reason.value}").audio("inbound", samples).over(reason)
            scene.id = f"{scene.id[:-2]}{number:02}"
            scenes.append(scene)
        for recorded in h.play(*scenes):
            h.files_are_right(recorded)

    def test_it_takes_gaps_of_every_cause(self, sink_harness: Harness) -> None:
        """A gap says why there is no audio, and may be anywhere, and long (What a sink is given)."""
        (recorded,) = sink_harness.play(sink_harness.gaps())
        sink_harness.files_are_right(recorded)

    def test_it_takes_a_track_that_opens_late(self, sink_harness: Harness) -> None:
        """Tracks that nobody has announced may come, with any name (What a sink is given)."""
        h = sink_harness
        scene = h.scene("a stream with tracks that open late", tracks=("inbound",))
        samples = speech(self.rate, self.seconds)["inbound"]
        scene.audio("inbound", samples)
        scene.gap("outbound", 0.75).audio("outbound", samples[: self.rate // 2])
        scene.gap("mixed", 1.0).audio("mixed", samples[: self.rate // 4])
        (recorded,) = h.play(scene)
        h.files_are_right(recorded)

    def test_it_takes_any_rate(self, sink_harness: Harness) -> None:
        """Positions are samples at the event's own rate, which is not always 8000 (What a sink is given)."""
        h = sink_harness
        for rate in self.rates:
            scene = h.speech(f"a stream at {rate} Hz", rate=rate)
            (recorded,) = h.play(scene, place=str(rate))
            h.spans_are_right(recorded, scene)

    def test_it_takes_digits_marks_and_events_that_it_does_not_know(self, sink_harness: Harness) -> None:
        """Ignore what you do not know: more kinds may come (What a sink is given)."""
        scene = sink_harness.speech("a stream with digits, marks, a discontinuity and an event of an unknown kind")
        rate = scene.rate
        scene.event(Digit("5", rate // 2, rate), 0.5).event(Digit("#", rate, rate, 100, "inbound"), 1.0)
        scene.event(Marked("greeting", rate // 2, rate), 0.5)
        scene.event(Discontinuity("inbound", rate, rate, 1000, 0), 1.0)
        scene.event(Unheard(rate, rate), 1.0)
        sink_harness.play(scene)

    def test_an_annotation_that_comes_late_is_taken(self, sink_harness: Harness) -> None:
        """Other sinks say what they find when they have found it: long after the audio (Saying something)."""
        h = sink_harness
        scene = h.speech("a stream with annotations of another sink, about what was long ago")
        said = [
            Annotation("transcript", "inbound", 0, scene.rate // 2, scene.rate, {"text": "hello"}, "another"),
            Annotation("summary", None, 0, 0, scene.rate, None, "another"),
            Annotation("level", "elsewhere", 10, 20, 16000, [1, 2.5, "three"], "another"),
        ]

        async def scenario() -> None:
            async with h.open() as stage:
                stream = await stage.begin(scene)
                await stage.publish(stream, scene)
                for annotation in said:
                    stream.annotated(annotation)
                await stage.taken(stream)
                h.ended_well(await stage.end(stream, scene), scene)

        h.run(scenario)

    def test_where_frames_end_means_nothing_to_it(self, sink_harness: Harness) -> None:
        """Where one frame ends and the next begins means nothing: frames and gaps tile (What a sink is given)."""
        h = sink_harness
        if not self.repeatable:
            h.skip("this plugin is not repeatable")
        made = [
            h.play(h.speech("a stream whose frames have other lengths", sizes=sizes), place=str(number))[0]
            for number, sizes in enumerate(((160,), ODD, (self.rate // 2,)))
        ]
        h.same(made[0], made[1], "of the same audio in frames of 1 to 1000 samples")
        h.same(made[0], made[2], "of the same audio in frames of half a second")

    def test_what_it_says_lies_on_the_timeline(self, sink_harness: Harness) -> None:
        """An annotation's span is samples at the rate that it names, of a track that there is.

        (Saying something)
        """
        h = sink_harness
        for number, scene in enumerate((h.speech(), h.gaps())):
            (recorded,) = h.play(scene, place=str(number))
            h.spans_are_right(recorded, scene)

    def test_it_says_nothing_after_it_has_returned(self, sink_harness: Harness) -> None:
        """Whatever is said of a stream is said before the sink returns (Saying something)."""
        h, scene = sink_harness, sink_harness.speech()

        async def scenario() -> list[str]:
            async with h.open() as stage:
                h.ended_well(await stage.play(scene), scene)
                await asyncio.sleep(LINGER_S)
            return stage.observed.late

        if late := h.run(scenario):
            raise h.fail(
                f"called annotate or add_file {len(late)} times after it had returned, e.g. in a task or a thread of "
                "its own that it does not wait for"
            )

    def test_every_file_that_it_writes_is_declared_and_final(self, sink_harness: Harness) -> None:
        """A file is declared when it is finished, and none is left that is not declared (Saying something)."""
        (recorded,) = sink_harness.play(sink_harness.speech())
        sink_harness.files_are_right(recorded)
