"""The table of troubles, with stalls of a second: what the long form finds in minutes, this finds on every change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sinks
from sink_matrix import CASES, SHORT, TROUBLES, Case, wrong_with


def test_a_sink_in_trouble_hurts_nobody_else_and_its_own_loss_is_counted_to_the_sample(tmp_path: Path) -> None:
    """Three calls, every trouble with every overflow and every on_error beside the recorder, and a SIGTERM."""
    said: list[str] = []
    outcomes = sinks.run(tmp_path, lengths=SHORT, streams=0, say=said.append)
    assert [problem for outcome in outcomes for problem in outcome.problems] == []
    assert {outcome.what for outcome in outcomes} == {*TROUBLES, "everybody else"}
    assert sum(outcome.trials for outcome in outcomes[:-1]) == len(CASES) * 3
    missed = {outcome.what: outcome.values for outcome in outcomes}
    assert missed["blocks"]["drop_newest"]["stop"] > 0
    assert missed["waits"]["drop_oldest"]["restart"] > 0
    assert missed["slow"]["spill"] == {"stop": 0.0, "restart": 0.0}
    assert missed["everybody else"]["recv_q"] < sinks.MOST_RECV_Q
    assert len(said) == 1 + len(CASES) / 2


@pytest.mark.system  # its senders and servers take ten seconds: once is enough
def test_what_waits_for_a_stuck_sink_is_measured(tmp_path: Path) -> None:
    said: list[str] = []
    problems, more_mib = sinks._memory(tmp_path, 3, 1.0, said.append)
    assert problems == [] and more_mib < sinks.FEEDS_MIB
    assert ["no stuck sink" in said[0], "a stuck sink" in said[1]] == [True, True]


def test_the_table_notices_a_sample_that_nobody_counted(tmp_path: Path) -> None:
    case = Case("waits", "spill", "stop")
    silence = {track: np.zeros(800, np.int16) for track in ("inbound", "outbound")}
    told = '{"sinks":{"%s":{"status":"%s","error":null,"dropped_s":%s}}}'

    def judged(spans: str, dropped: str = "{}", status: str = "ok", heard: bytes = b"") -> str | None:
        (tmp_path / "stream.json").write_text(told % (case.name, status, dropped))
        (tmp_path / f"{case.name}.0.spans").write_text(spans)
        (tmp_path / f"{case.name}.inbound.heard").write_bytes(heard)
        return wrong_with(tmp_path, case, silence)

    whole = '["inbound", 0, 800, null]\n["outbound", 0, 800, "lost"]\n'
    assert judged(whole) is None
    assert judged(whole, status="failed") == "status failed (None), not ok"
    assert judged(whole.replace("800, null", "799, null")) == "inbound: 0.0 s said to be missed, 0.000125 s were"
    assert (
        judged(whole.replace("0, 800, null", "80, 800, null"))
        == f"{case.name}.0.spans: inbound goes on at 80, not at 0"
    )
    assert judged(whole, heard=b"\1\0") == "inbound: its audio is not what was sent"
    dropped = whole.replace("null", '"dropped"')
    assert judged(dropped, '{"inbound":0.1}') == "inbound: 0.1 s missed, though it spills"
