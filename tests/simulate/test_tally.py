from __future__ import annotations

from receiver.simulate import Outcome
from receiver.simulate.script import Ending, Way
from receiver.simulate.tally import MAX_PROBLEMS, Tally


def test_every_stream_is_counted_once_under_what_became_of_it() -> None:
    tally = Tally()
    assert tally.summary().streams == 0 and tally.summary().messages_per_s == 0
    tally.begin()
    outcomes = [
        Outcome(status=101, complete=True, close_code=1000, messages=10, characters=1000, worst_late_s=0.5, received=1),
        Outcome(status=101, complete=True, close_code=1006, ending=Ending(Way.RESET), messages=1),
        Outcome(status=101, close_code=1008, close_reason="too bad", messages=2, characters=200),
        Outcome(status=503, body="full"),
        Outcome(status=503, body="full"),
        Outcome(error="nobody there"),
    ]
    for outcome in outcomes:
        if outcome.status == 101:
            tally.up(outcome)
    assert (tally.live, tally.messages) == (3, 13)
    for outcome in outcomes:
        tally.down(outcome, withheld=2)
    stopped = Outcome(status=101, close_code=1000, messages=4)
    tally.up(stopped)
    tally.down(stopped, withheld=0, stopped=True)
    tally.end()
    summary = tally.summary()
    assert (summary.streams, summary.finished, summary.broken, summary.unreachable, summary.stopped) == (7, 2, 1, 1, 1)
    assert summary.refused == {"503": 2} and summary.close_codes == {"1000": 2, "1006": 1, "1008": 1}
    assert (summary.messages, summary.megabytes, summary.received, summary.withheld) == (17, 0.0012, 1, 12)
    assert summary.worst_late_s == 0.5 and summary.seconds == summary.seconds > 0 and not summary.ok
    assert summary.problems == ["closed with 1008 too bad", "refused with HTTP 503 full", "nobody there"]


def test_problems_are_bounded() -> None:
    tally = Tally()
    for i in range(1000):
        tally.problem(f"problem {i}")
    assert len(tally.summary().problems) == MAX_PROBLEMS
