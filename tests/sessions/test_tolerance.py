"""How much is forgiven."""

from receiver.errors import ProtocolError
from receiver.sessions.tolerance import BAD_WINDOW_S, REPEATED, Tolerance

BAD = ProtocolError(1007, "bad")


def test_the_window_slides() -> None:
    tolerance = Tolerance(2)
    assert tolerance.forgive(BAD, "unreadable", 0.0) is None
    assert tolerance.forgive(BAD, "unreadable", 1.0) is None
    assert tolerance.forgive(BAD, "unreadable", BAD_WINDOW_S + 0.1) is None
    verdict = tolerance.forgive(BAD, "unreadable", BAD_WINDOW_S + 0.2)
    assert verdict is not None
    assert (verdict.code, tolerance.ignored["unreadable"]) == (1008, 4)


def test_many_at_once_count_each() -> None:
    assert Tolerance(5).forgive(BAD, "rejected_media", 0.0, 5) is None
    assert Tolerance(5).forgive(BAD, "rejected_media", 0.0, 1_000_000) is not None


def test_some_kinds_keep_their_own_code() -> None:
    tolerance = Tolerance(1_000)
    for number in range(REPEATED):
        assert tolerance.forgive(BAD, "binary", number * 100.0) is None
    assert tolerance.forgive(BAD, "binary", 99_999.0) is BAD
