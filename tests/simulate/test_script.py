from __future__ import annotations

import pytest

from receiver.captures.capture import End
from receiver.events import EndReason
from receiver.simulate.script import Ending, Way, ending_of


@pytest.mark.parametrize(
    ("end", "ending"),
    [
        (None, Ending()),
        (End(1, EndReason.STOP, 1000, "stop"), Ending(Way.CLOSE, 1000, "")),
        (End(1, EndReason.CLOSE, 4000, "bye"), Ending(Way.CLOSE, 4000, "bye")),
        (End(1, EndReason.CLOSE, 1005), Ending()),  # no code was sent, and none can be sent like it
        (End(1, EndReason.CLOSE, None), Ending()),
        (End(1, EndReason.CLOSE, 999), Ending()),
        (End(1, EndReason.FIN), Ending(Way.FIN)),
        (End(1, EndReason.RESET), Ending(Way.RESET)),
        (End(1, EndReason.IDLE, 1000, "idle"), Ending()),
        (End(1, EndReason.ERROR, 1008, "too much"), Ending()),
        (End(1, EndReason.DRAIN, 1012), Ending()),
    ],
)
def test_a_peer_ends_as_it_did_and_where_we_did_it_closes(end: End | None, ending: Ending) -> None:
    assert ending_of(end) == ending


def test_a_reason_fits_into_its_frame() -> None:
    text = ending_of(End(1, EndReason.CLOSE, 1000, "\u00fc" * 100)).text
    assert text == "\u00fc" * 61
