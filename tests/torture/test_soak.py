"""The soak in short: the real one is made by hand. And its arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest
import soak
from soak import Seen, Soak, sparkline, worst_bucket
from watched import MIB

LAG = "receiver_event_loop_lag_seconds_bucket"


@pytest.mark.system  # it takes 20 seconds: once is enough
@pytest.mark.timeout(120)
def test_two_hundred_calls_that_come_and_go_leave_nothing_behind_and_lose_nothing(tmp_path: Path) -> None:
    outcome = soak.run(tmp_path, Soak(12.0, 200, 1.0, 5.0), show=False)
    assert outcome.problems == []
    assert outcome.values["calls"] >= 200
    assert set(outcome.values["ends"]) == {"stop", "close", "fin", "reset"}
    assert outcome.values["missed_by_the_slow_sink_s"] > 0
    assert outcome.values["tasks"][1] <= outcome.values["tasks"][0]
    lines = soak.report(outcome)
    assert any("calls" in line and str(outcome.values["calls"]) in line for line in lines)


@pytest.mark.system  # the same
def test_a_small_one_in_debug_mode_says_what_held_the_loop(tmp_path: Path) -> None:
    outcome = soak.run(tmp_path, Soak(1.5, 5, 0.3, 0.6), debug=True, show=False)
    assert outcome.problems == []
    assert outcome.values["calls"] >= 5
    assert soak.report_debug(outcome)[0].startswith("2 s in debug mode: ")
    assert "MiB/h" in "\n".join(soak.report(outcome))


def test_growth_is_the_slope_of_a_line_behind_the_warm_up() -> None:
    steady = Seen(at=[0, 1, 2, 3, 4], rss=[9 * MIB, 5 * MIB, 5 * MIB, 5 * MIB, 5 * MIB])
    assert steady.slope(0.5) == pytest.approx((0.0, 0.0), abs=1e-9)
    growing = Seen(at=[0, 3600, 7200, 10800], rss=[0, MIB, 2 * MIB, 3 * MIB])
    assert growing.slope(0) == pytest.approx((1.0, 0.0))
    assert Seen(at=[0, 1], rss=[0, MIB]).slope(0) == (0.0, float("inf"))


def test_growth_is_judged_where_a_run_is_long_enough_to_tell(tmp_path: Path) -> None:
    values = {
        **dict.fromkeys(("calls", "messages", "audio_mib", "missed_by_the_slow_sink_s", "recv_q_worst"), 0),
        **dict.fromkeys(
            ("lag_p99_s", "lag_p999_s", "lag_worst_s", "sender_late_worst_s", "turn_worst_s", "turn_cpu_worst_s"), 0.0
        ),
        **{name: [1, 1] for name in ("descriptors", "threads", "tasks")},
        "ends": {},
    }
    seen = Seen(at=[600.0 * n for n in range(13)], rss=[MIB * n for n in range(13)], lag=[0.0] * 13, live=[0] * 13)
    for seconds, problems in ((600.0, []), (7200.0, ["memory grows by 6.00 MiB an hour"])):
        outcome = soak.Outcome(Soak(seconds, 1), soak.Books(tmp_path, {}), seen, [], dict(values))
        soak.report(outcome)
        assert outcome.problems == problems
    values["turn_cpu_worst_s"] = 0.06
    outcome = soak.Outcome(Soak(1.0, 1), soak.Books(tmp_path, {}), seen, [], dict(values))
    soak.report(outcome)
    assert outcome.problems == ["a turn of the sweep worked for 60 ms"]


def test_the_worst_lag_is_the_bound_of_the_last_bucket_that_grew() -> None:
    def scrape(*counts: int) -> dict[str, float]:
        return {
            f'{LAG}{{le="{bound}"}}': float(count) for bound, count in zip(("0.01", "0.1", "+Inf"), counts, strict=True)
        }

    assert worst_bucket(scrape(0, 0, 0), scrape(98, 100, 100)) == 0.1
    assert worst_bucket(scrape(0, 0, 0), scrape(98, 100, 100), 0.9) == 0.01
    assert worst_bucket(scrape(5, 5, 5), scrape(5, 5, 5)) == 0.0


def test_a_picture_shows_the_most_of_each_piece() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([1, 9, 1, 1], 2) == "█▁"
    assert (sparkline([]), sparkline([3, 3])) == ("", "▁▁")
    assert sparkline([1, float("inf"), 4.5]) == "▁█▄"
    assert sparkline([float("inf")]) == "▁"
    assert (soak.in_ms(0.05), soak.in_ms(float("inf"))) == ("≤ 50 ms", "beyond the last bucket (2.5 s)")


def test_what_is_kept_names_files_and_no_machines() -> None:
    said = (
        "<TimerHandle Sweep._take_turn created at /home/ann/x/receiver/asgi/sweep.py:77> <Task coro=<f() at a/b.py:1>>"
    )
    assert (
        soak.WAY.sub("", said)
        == "<TimerHandle Sweep._take_turn created at asgi/sweep.py:77> <Task coro=<f() at a/b.py:1>>"
    )
