from __future__ import annotations

import numpy as np
import pytest

from receiver.events import Cause, Digit, EndReason, Frame, Gap
from receiver.testing.scene import Scene, speech

SAMPLES = np.arange(1000, dtype=np.int16)


def test_tracks_tile_whatever_the_frames_and_time_orders_them() -> None:
    scene = Scene("a scene").audio("inbound", SAMPLES, (1, 300)).gap("inbound", 0.5, Cause.LOST)
    scene.audio("inbound", SAMPLES).gap("outbound", 0.1).audio("outbound", SAMPLES).event(Digit("1", 0, 8000), 0.05)
    expected = dict.fromkeys(("inbound", "outbound"), 0)
    for event in scene.events():
        if isinstance(event, Frame | Gap):
            assert event.start == expected[event.track]
            expected[event.track] = event.end
    assert expected == {"inbound": 6000, "outbound": 1800}
    assert [event for batch in scene.batches(3) for event in batch] == scene.events()
    where = [getattr(event, "start", 400) for event in scene.events()]
    assert where == sorted(where)


def test_the_end_says_what_became_of_each_track() -> None:
    scene = Scene("a scene").audio("inbound", SAMPLES).gap("inbound", 0.5, Cause.PAUSED).over(EndReason.ERROR)
    counters = scene.ended.tracks["inbound"]
    assert (counters.length, counters.samples, counters.gaps) == (5000, 1000, {"paused": 4000})
    assert (scene.ended.stop_received, scene.seconds) == (False, 0.625) and scene.ended.error
    assert Scene("nothing").ended.tracks == {} and Scene("nothing").seconds == 0


def test_nobody_can_write_into_its_samples() -> None:
    (frame,) = Scene("a scene").audio("inbound", SAMPLES, (1000,)).events()
    assert isinstance(frame, Frame) and np.array_equal(frame.samples, SAMPLES)
    with pytest.raises(ValueError, match="read-only"):
        frame.samples[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        frame.samples.flags.writeable = True


def test_both_sides_of_the_bundled_call_have_the_rate_and_length_that_was_asked_for() -> None:
    for rate in (8000, 48000):
        sides = speech(rate, 1.5)
        assert {track: (len(samples), samples.dtype) for track, samples in sides.items()} == dict.fromkeys(
            ("inbound", "outbound"), (rate * 3 // 2, np.int16)
        )
    assert all(abs(samples[start:]).max() > 1000 for samples in speech(8000, 2.0).values() for start in (0, 8000))
