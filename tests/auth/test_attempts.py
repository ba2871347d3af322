from __future__ import annotations

from receiver.auth.attempts import WINDOW_S, Attempts, Excess


def test_failures_within_the_limit_exceed_nothing_and_the_first_beyond_it_is_told_of() -> None:
    attempts = Attempts(3)
    assert [attempts.failed("192.0.2.1", 10.0 + at) for at in range(5)] == [
        *(None, None, None),
        Excess(True, 57),
        Excess(False, 56),
    ]


def test_a_minute_after_the_first_failure_another_minute_begins() -> None:
    attempts = Attempts(1)
    assert attempts.failed("192.0.2.1", 0.0) is None
    assert attempts.failed("192.0.2.1", WINDOW_S - 0.1) == Excess(True, 1)
    assert attempts.failed("192.0.2.1", WINDOW_S) is None
    assert attempts.failed("192.0.2.1", WINDOW_S + 1) == Excess(True, 59)


def test_a_clock_that_was_set_back_begins_another_minute() -> None:
    attempts = Attempts(1)
    assert attempts.failed("192.0.2.1", 1000.0) is None
    assert attempts.failed("192.0.2.1", 10.0) is None


def test_each_address_is_counted_by_itself_and_a_network_of_ipv6_as_one() -> None:
    attempts = Attempts(1)
    assert attempts.failed("192.0.2.1", 0.0) is None
    assert attempts.failed("192.0.2.2", 0.0) is None
    assert attempts.failed("::ffff:192.0.2.2", 0.0) == Excess(True, 60)
    assert attempts.failed("2001:db8::1", 0.0) is None
    assert attempts.failed("2001:db8::2:1", 0.0) == Excess(True, 60)
    assert attempts.failed("2001:db8:0:1::1", 0.0) is None
    assert attempts.failed("", 0.0) is None
    assert attempts.failed("", 0.0) == Excess(True, 60)


def test_only_so_many_addresses_are_remembered_and_the_longest_quiet_is_forgotten_first() -> None:
    attempts = Attempts(1, addresses=2)
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.3"):
        attempts.failed(address, 0.0)
    assert len(attempts) == 2
    assert attempts.failed("192.0.2.1", 0.0) is not None
    assert attempts.failed("192.0.2.2", 0.0) is None


def test_without_a_limit_nothing_is_counted() -> None:
    attempts = Attempts(0)
    assert [attempts.failed("192.0.2.1", 0.0) for _ in range(100)] == [None] * 100
    assert len(attempts) == 0
