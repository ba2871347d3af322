from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from receiver.captures.capture import Batch, CaptureError, End
from receiver.events import EndReason
from receiver.simulate import tape as tapes
from receiver.simulate.script import Ending, Way
from receiver.simulate.tape import Tape, read_tapes

Written = Callable[..., Path]


def test_what_a_capture_holds_is_known_beforehand(recorded: Callable[..., Path]) -> None:
    tape = Tape(recorded(seconds=1.0))
    assert (tape.messages, tape.media, tape.withheld) == (103, 100, 0)
    assert tape.duration_s == pytest.approx(1.02, abs=0.03) and tape.held
    assert tape.identity.ids == ("7d56cc11-536d-4a45-b4fb-ed3d55be843b", "76ac3c36-56da-4a3e-a0d6-b5f8df6da9ad")


@pytest.mark.parametrize("held", [True, False])
def test_it_says_the_same_held_or_read_again(recorded: Callable[..., Path], held: bool) -> None:
    path = recorded(seconds=1.0, end=End(1, EndReason.FIN))
    tape = Tape(path, hold_characters=10**6 if held else 100)
    assert tape.held is held
    said = list(tape.said())
    assert said == list(tape.said()) == list(Tape(path).said())
    assert len(said) == 104 and said[-1] == (tape.duration_s, Ending(Way.FIN))


def test_withheld_messages_are_counted(written: Written) -> None:
    tape = Tape(written([Batch(0, ["a", 3]), Batch(1, [4])]), hold_characters=0)
    list(tape.said())
    assert (tape.withheld, tape.messages, tape.ending) == (2, 1, Ending())


@pytest.mark.parametrize("batches", [[], [Batch(0, [3])]])
def test_a_capture_without_a_message_is_named(written: Written, batches: list[Batch]) -> None:
    with pytest.raises(CaptureError, match=r"capture\.jsonl: holds no message"):
        Tape(written(batches))


def test_a_broken_capture_is_named_with_its_line(written: Written) -> None:
    path = written([Batch(0, ["a"])])
    path.write_bytes(path.read_bytes() + b"rubbish\n")
    with pytest.raises(CaptureError, match=r"capture\.jsonl, line 3: "):
        Tape(path)


def test_a_capture_that_a_crash_cut_off_is_played_as_far_as_it_goes(written: Written) -> None:
    path = written([Batch(0, ["a"])])
    path.write_bytes(path.read_bytes() + b'[1.0,"m",{"event"')
    assert list(Tape(path).said()) == [(0.0, "a"), (0.0, Ending())]


def test_what_is_held_of_all_tapes_is_bounded(recorded: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [recorded(name, seconds=0.2) for name in "abc"]
    monkeypatch.setattr(tapes, "HELD_CHARACTERS", 2.5 * Tape(paths[0]).characters)
    assert [tape.held for tape in read_tapes(paths)] == [True, True, False]
