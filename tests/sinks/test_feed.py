"""A feed: what fits, what does not, and what the sink is told of it."""

from __future__ import annotations

import numpy as np

from receiver.audio import AudioFormat, Encoding
from receiver.events import (
    Annotation,
    Cause,
    Digit,
    Ended,
    EndReason,
    Event,
    Frame,
    Gap,
    Marked,
    Passing,
    Started,
    TrackCounters,
)
from receiver.sinks.budget import Budget
from receiver.sinks.feed import EVENT_BYTES, OTHERS_LIMIT, PASSING_LIMIT, Feed

RATE = 8000


def frame(start: int, count: int, track: str = "inbound") -> Frame:
    return Frame(track, start, RATE, (np.arange(start, start + count) % 30000).astype(np.int16))


def gap(start: int, end: int, track: str = "inbound") -> Gap:
    return Gap(track, start, end, RATE, Cause.LOST)


def ended(**lengths: int) -> Ended:
    return Ended(EndReason.STOP, True, {track: TrackCounters(RATE, length) for track, length in lengths.items()})


def drain(feed: Feed) -> list[Event]:
    events = []
    while (event := feed.take()) is not None:
        events.append(event)
    return events


def make(buffer_s: float = 1.0, overflow: str = "drop_newest", limit: int = 1 << 30) -> Feed:
    return Feed(Budget(limit), buffer_s=buffer_s, overflow=overflow)


def test_adjacent_drops_are_one_gap() -> None:
    feed = make(0.02)
    feed.put([frame(160 * n, 160) for n in range(50)])
    feed.put([ended(inbound=8000)])
    events = drain(feed)
    assert [type(event) for event in events] == [Frame, Gap, Ended]
    assert events[1] == Gap("inbound", 160, 8000, RATE, Cause.DROPPED)


def test_drop_oldest_keeps_the_latest_audio() -> None:
    feed = make(0.02, "drop_oldest")
    feed.put([frame(160 * n, 160) for n in range(50)])
    first, second = drain(feed)
    assert first == Gap("inbound", 0, 7840, RATE, Cause.DROPPED)
    assert isinstance(second, Frame) and second.start == 7840


def test_a_frame_longer_than_the_buffer_is_kept_in_part() -> None:
    newest, oldest = make(0.01), make(0.01, "drop_oldest")
    for feed in (newest, oldest):
        feed.put([frame(0, 800), ended(inbound=800)])
    kept = next(event for event in drain(newest) if isinstance(event, Frame))
    assert (kept.start, kept.end) == (0, 80)
    kept = next(event for event in drain(oldest) if isinstance(event, Frame))
    assert (kept.start, kept.end) == (720, 800)


def test_a_gap_of_hours_needs_no_room() -> None:
    feed = make(0.02)
    feed.put([Gap("inbound", 0, 10 * 3600 * RATE, RATE, Cause.UNSENT)])
    assert feed.queued_s == 0
    assert len(drain(feed)) == 1


def test_what_came_before_the_sink_is_a_gap_and_not_counted_as_dropped() -> None:
    feed = make()
    feed.put([frame(16000, 160)])
    assert drain(feed)[0] == Gap("inbound", 0, 16000, RATE, Cause.DROPPED)
    assert feed.dropped_s == {}


def test_a_track_of_which_nothing_was_seen_is_a_gap_at_the_end() -> None:
    feed = make()
    feed.put([ended(inbound=160, outbound=0)])
    assert drain(feed)[0] == Gap("inbound", 0, 160, RATE, Cause.DROPPED)


def test_events_without_audio_are_bounded_in_number() -> None:
    feed = make(overflow="drop_oldest")
    feed.put([Marked("m", 0, RATE)] * (OTHERS_LIMIT + 7))
    feed.put([Gap("inbound", 0, 800, RATE, Cause.LOST)])
    assert feed.events_dropped == 7
    assert feed.dropped_s == {"inbound": 0.1}
    feed.put([ended(inbound=800)])
    events = drain(feed)
    assert len(events) == OTHERS_LIMIT + 2
    assert events[-2] == Gap("inbound", 0, 800, RATE, Cause.DROPPED)


def test_annotations_that_are_not_kept_leave_room_for_the_others_and_are_not_missed() -> None:
    feed = make()
    feed.put([Passing("x", None, 0, 1, RATE, number) for number in range(PASSING_LIMIT + 5)])
    feed.put([Digit("1", 0, RATE), Annotation("x", None, 0, 1, RATE)])
    events = drain(feed)
    assert len(events) == PASSING_LIMIT + 2 and isinstance(events[-2], Digit)
    assert feed.events_dropped == 0
    assert feed.put([Passing("x", None, 0, 1, RATE)])


def test_making_room_spares_digits_and_drops_gaps() -> None:
    feed = make(0.02, "drop_oldest")
    feed.put([Digit("1", 0, RATE), frame(0, 160), Gap("inbound", 160, 320, RATE, Cause.LOST), frame(320, 160)])
    feed.put([frame(480, 160)])
    assert [type(event) for event in drain(feed)] == [Digit, Gap, Frame]
    assert feed.dropped_s == {"inbound": 0.06}


def test_started_is_not_for_sinks_and_nothing_follows_ended() -> None:
    feed = make()
    started = Started("signalwire", "s", None, None, ("inbound",), AudioFormat(Encoding.PCMU, RATE), {})
    assert not feed.put([started])
    assert feed.put([ended(), Digit("1", 0, RATE)])
    assert not feed.put([Digit("1", 0, RATE)])
    assert [type(event) for event in drain(feed)] == [Ended]


def test_a_closed_feed_discards_and_holds_nothing() -> None:
    feed = make()
    feed.put([frame(0, 160)])
    assert feed.queued_bytes == 320 + EVENT_BYTES
    feed.close()
    assert not feed.put([frame(160, 160)])
    assert (feed.queued_bytes, feed.queued_s, feed.take()) == (0, 0.0, None)


def test_what_a_closed_feed_had_and_what_comes_after_is_missed() -> None:
    feed = make(0.05)
    feed.put([frame(0, 160), frame(160, 160), frame(320, 160)])  # of the last one a half fits
    assert isinstance(feed.take(), Frame)
    feed.close()
    assert feed.dropped_s == {"inbound": 0.01}  # until something tells where the stream is
    feed.put([frame(480, 160), gap(640, 800), Digit("1", 0, RATE), gap(0, 80, track="outbound")])
    assert feed.dropped_s == {"inbound": 0.08, "outbound": 0.01}
    feed.put([ended(inbound=960, outbound=80)])
    assert feed.dropped_s == {"inbound": 0.1, "outbound": 0.01}
    feed.close(give_up=True)  # too late
    assert feed.dropped_s == {"inbound": 0.1, "outbound": 0.01}


def test_what_was_ready_to_be_taken_is_missed_as_well() -> None:
    feed = make(0.02)
    feed.put([frame(0, 160), frame(160, 160)])
    assert isinstance(feed.take(), Frame)
    feed.put([frame(320, 80), gap(400, 480)])
    hole = feed.take()
    assert isinstance(hole, Gap) and (hole.start, hole.end, hole.cause) == (160, 320, Cause.DROPPED)
    feed.close()
    feed.put([ended(inbound=480)])
    assert feed.dropped_s == {"inbound": 0.04}


def test_what_was_missing_at_the_end_is_missed_once() -> None:
    feed = make(0.02)
    feed.put([frame(0, 160), frame(160, 160), ended(inbound=320)])
    assert [type(event) for event in drain(feed)] == [Frame, Gap, Ended]
    feed.close()  # the sink failed on the end
    assert feed.dropped_s == {"inbound": 0.02}


def test_a_sink_that_has_what_it_wanted_misses_nothing_more() -> None:
    feed = make(0.02)
    feed.put([frame(0, 160), frame(160, 160)])
    assert isinstance(feed.take(), Frame)
    feed.close(give_up=True)
    feed.close()
    feed.put([frame(320, 160), ended(inbound=480)])
    assert feed.dropped_s == {"inbound": 0.02}


def test_what_had_passed_before_a_feed_was_made_is_not_missed() -> None:
    feed = make()
    feed.put([frame(800, 160)])
    assert isinstance(feed.take(), Gap)
    feed.close()
    feed.put([gap(160, 320, track="outbound"), ended(inbound=1600)])
    assert feed.dropped_s == {"inbound": 0.1}
    began_with_a_gap = make()
    began_with_a_gap.put([gap(800, 960), frame(960, 160)])
    began_with_a_gap.close()
    began_with_a_gap.put([ended(inbound=1600)])
    assert began_with_a_gap.dropped_s == {"inbound": 0.1}


def test_a_sink_that_takes_while_room_is_made_changes_nothing() -> None:
    feed = make(0.02, "drop_oldest")
    feed.put([frame(0, 160)])
    feed._queue.popleft()  # where a take in the other thread is, before it has counted what it took
    feed.put([frame(160, 160)])
    assert feed.dropped_s == {"inbound": 0.02}
    feed.put([ended(inbound=320)])
    assert isinstance(drain(feed)[-1], Ended)


def test_there_is_room_where_it_fits_and_where_nothing_is() -> None:
    budget = Budget(1 << 30)
    feed = Feed(budget, buffer_s=1.0)
    assert feed.has_room(10)
    feed.put([frame(0, 4000)])
    assert (feed.has_room(0.5), feed.has_room(0.6)) == (True, False)
    budget.over = True
    assert not feed.has_room(0.1)
    drain(feed)
    assert feed.has_room(10)
    feed.put([Marked("m", 0, RATE)] * (OTHERS_LIMIT // 2 + 1))
    assert not feed.has_room(0.1)
    feed.close()
    assert feed.has_room(10)


def test_who_waits_for_room_is_told_once_when_it_fits() -> None:
    feed, told = make(), list[str]()
    feed.put([frame(0, 4000), frame(4000, 4000), Digit("1", 8000, RATE)])
    feed.when_room(0.5, lambda: told.append("room"))
    feed.take()
    assert told == []
    feed.take()  # asking for the next one shows that there is room
    feed.take()
    assert told == ["room"]
    feed.put([frame(8000, 8000)])
    feed.when_room(0.5, lambda: told.append("closed"))
    feed.close()
    feed.when_room(0.5, lambda: told.append("never"))
    feed.forget_room()
    feed.take()
    assert told == ["room", "closed"]
