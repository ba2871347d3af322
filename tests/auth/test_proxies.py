from __future__ import annotations

import pytest

from receiver.auth.proxies import Proxies, network_of

TRUSTED = ("127.0.0.1", "10.0.0.0/8", "2001:db8::/32")


def _client(peer: str, *values: bytes, trusted: tuple[str, ...] = TRUSTED) -> str:
    return Proxies(trusted).client(peer, [(b"X-Forwarded-For", value) for value in values])


@pytest.mark.parametrize(
    ("peer", "values", "client"),
    [
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", [b"192.0.2.1"], "192.0.2.1"),
        ("::ffff:127.0.0.1", [b"192.0.2.1"], "192.0.2.1"),
        ("127.0.0.1", [b"203.0.113.9, 192.0.2.1"], "192.0.2.1"),
        ("127.0.0.1", [b"203.0.113.9, 192.0.2.1, 10.1.2.3"], "192.0.2.1"),
        ("127.0.0.1", [b"203.0.113.9", b"192.0.2.1", b"10.1.2.3,10.4.5.6"], "192.0.2.1"),
        ("127.0.0.1", [b"10.1.2.3"], "10.1.2.3"),
        ("127.0.0.1", [b"192.0.2.1:4711"], "192.0.2.1"),
        ("127.0.0.1", [b"[2001:db9::1]:4711"], "2001:db9::1"),
        ("2001:db8::5", [b"2001:DB9::1"], "2001:db9::1"),
        ("127.0.0.1", [b"::ffff:192.0.2.1"], "192.0.2.1"),
    ],
)
def test_the_client_is_the_rightmost_that_is_no_trusted_proxy(peer: str, values: list[bytes], client: str) -> None:
    assert _client(peer, *values) == client


@pytest.mark.parametrize("peer", ["192.0.2.7", "127.0.0.2", "2001:db9::5"])
def test_row_22_what_somebody_else_says_is_nothing(peer: str) -> None:
    assert _client(peer, b"203.0.113.9") == peer
    assert _client(peer, b"203.0.113.9", trusted=()) == peer


@pytest.mark.parametrize("nonsense", [b"", b"unknown", b"_hidden", b"\xff", b"192.0.2", b"[", b"a:b:c", b"192.0.2.1 x"])
def test_what_is_no_address_is_the_proxy_that_passed_it_on(nonsense: bytes) -> None:
    assert _client("127.0.0.1", b"203.0.113.9, " + nonsense + b", 10.1.2.3") == "10.1.2.3"


def test_a_peer_without_an_address_is_not_trusted() -> None:
    assert _client("", b"203.0.113.9") == ""


def test_there_are_proxies_or_there_are_none() -> None:
    assert Proxies(TRUSTED) and not Proxies()
    with pytest.raises(ValueError, match="does not appear"):
        Proxies(["proxy.internal"])


def test_addresses_belong_to_networks() -> None:
    assert network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("2001:db8:1:2:3:4:5:6") == "2001:db8:1:2::/64"
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of("testclient") == "testclient"
