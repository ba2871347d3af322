from __future__ import annotations

from pathlib import Path

import pytest

from receiver.cli.replay import FAULTS
from receiver.simulate import CallError
from receiver.simulate.faults import Fault, Kind, check_faults, parse_fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("gap:5s+200ms", Fault(Kind.GAP, 5.0, 0.2)),
        ("gap:1.5s", Fault(Kind.GAP, 1.5)),
        ("silence: 2m + 1h ", Fault(Kind.SILENCE, 120.0, 3600.0)),
        ("reorder:5%", Fault(Kind.REORDER, share=0.05)),
        ("duplicate:0.5%", Fault(Kind.DUPLICATE, share=0.005)),
        ("bad-json", Fault(Kind.BAD_JSON)),
        ("bad-base64:100%", Fault(Kind.BAD_BASE64, share=1.0)),
        ("burst:5s+1s", Fault(Kind.BURST, 5.0, 1.0)),
        ("burst", Fault(Kind.BURST, None, 2.0)),
        ("stall:0s", Fault(Kind.STALL, 0.0, 5.0)),
        ("cut", Fault(Kind.CUT)),
        ("fin:200ms", Fault(Kind.FIN, 0.2)),
        ("close:1s", Fault(Kind.CLOSE, 1.0)),
        ("no-stop", Fault(Kind.NO_STOP)),
        ("restart-clock:3s", Fault(Kind.RESTART_CLOCK, 3.0)),
    ],
)
def test_faults_as_they_are_written(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("gape:5s", "'gape:5s': no such kind; there are gap, silence"),
        ("", "'': no such kind"),
        ("gap:", "nothing behind the colon"),
        ("gap:5", "'5' is no time such as 200ms"),
        ("gap:5s+", "'' is no time"),
        ("gap:5s+0s", "has no length"),
        ("gap:-5s", "'-5s' is no time"),
        ("gap:\u0665s", "is no time"),
        ("gap:0%", "more than 0% and at most 100%"),
        ("gap:101%", "more than 0% and at most 100%"),
        ("gap:x%", "more than 0% and at most 100%"),
        ("cut:5%", "cut happens at a time"),
        ("cut:5s+1s", "cut has no length"),
        ("restart-clock:5s+1s", "restart-clock has no length"),
        ("no-stop:5s", "no-stop has no place"),
    ],
)
def test_what_is_wrong_with_a_fault_is_said(text: str, problem: str) -> None:
    with pytest.raises(CallError) as raised:
        parse_fault(text)
    assert problem in str(raised.value)


def test_a_stream_ends_once_and_has_the_faults_places() -> None:
    check_faults([parse_fault("cut:1s"), parse_fault("no-stop"), parse_fault("gap:1s")], 1.0)
    with pytest.raises(CallError, match="ends once, so one of close, cut, fin"):
        check_faults([parse_fault("cut:1s"), parse_fault("fin:2s")], 9.0)
    with pytest.raises(CallError, match=r"fault stall: begins at 10 s, and the stream has 9\.0 s"):
        check_faults([parse_fault("stall:10s")], 9.0)


def test_every_kind_is_in_the_help_and_in_the_documentation() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "replay.md").read_text()
    for kind in Kind:
        assert f"| `{kind}` |" in docs
        assert kind in FAULTS
