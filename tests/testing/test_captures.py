"""Captures, played by the fixtures: what ``RunningReceiver.play`` does with them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from receiver.captures.capture import CaptureError
from receiver.events import Samples
from receiver.simulate import CallError, messages
from receiver.testing import NotRecorded, RunReceiver, ThreadedReceiver
from receiver.testing.material import PlayOptions, as_call


@pytest.fixture
def capture(tmp_path: Path, tone: Samples) -> Path:
    """Half a second of L16, of which a packet is missing, with a binary message and one that was withheld."""
    call: Any = as_call(
        (tone, 8000), PlayOptions(codec="L16", rate=8000, call_id="CA1", stream_id="MZ1"), "signalwire", tmp_path
    )
    said = list(messages(call))
    del said[7]
    lines = [json.dumps({"version": 1}), *(f'[{at},"m",{text}]' for at, text in said)]
    lines[5:5] = ['[0.02,"p",160]', '[0.02,"b","AAEC"]']
    path = tmp_path / "capture.jsonl"
    path.write_text("\n".join([*lines, '[0.6,"x",{"reason":"stop"}]', ""]))
    return path


@pytest.mark.parametrize("speed", ["max", 10])
def test_a_capture_is_played_as_it_was_recorded(receiver_server: ThreadedReceiver, capture: Path, speed: Any) -> None:
    recorded = receiver_server.play(capture, speed=speed)
    assert (recorded.told["call_id"], recorded.told["stream_id"]) == ("CA1", "MZ1")
    assert recorded.gaps() == [(800, 960, "lost")]
    assert len(recorded.audio()[0]) == 4000
    assert recorded.outcome.complete and recorded.outcome.messages == 27 + 1


def test_the_same_capture_twice_at_once_makes_two_recordings(receiver_server: ThreadedReceiver, capture: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        recorded = list(pool.map(lambda _: receiver_server.play(capture, speed=2), range(4)))
    assert len({call.folder for call in recorded}) == 4
    assert {call.told["call_id"] for call in recorded} == {"CA1"}


def test_refusals_and_files_that_are_no_captures_are_said(
    run_receiver: RunReceiver, capture: Path, tmp_path: Path
) -> None:
    with run_receiver(sinks=[]) as server:
        with pytest.raises(NotRecorded, match="HTTP 401: Unauthorized"):
            server.play(capture, token="wrong")
        with pytest.raises(CallError, match="speed 0: must be a number above 0"):
            server.play(capture, speed=0)
        with pytest.raises(CaptureError, match=r"nowhere\.jsonl"):
            server.play(tmp_path / "nowhere.jsonl")
        (tmp_path / "no.jsonl").write_text("nonsense\n")
        with pytest.raises(CaptureError, match=r"no\.jsonl"):
            server.play(tmp_path / "no.jsonl")


def test_a_server_that_ends_it_early_is_said(run_receiver: RunReceiver, tmp_path: Path, tone: Samples) -> None:
    call: Any = as_call((np.tile(tone, 100), 8000), PlayOptions(), "signalwire", tmp_path)
    path = tmp_path / "long.jsonl"
    lines = [json.dumps({"version": 1}), *(f'[{at},"m",{text}]' for at, text in messages(call))]
    path.write_text("\n".join([*lines, ""]))
    with run_receiver(limits={"burst_s": 1}) as server:
        recorded = server.play(path, speed=20)
    assert not recorded.outcome.ok and recorded.outcome.close_code == 4429
    assert recorded.told["end"]["close_code"] == 4429
