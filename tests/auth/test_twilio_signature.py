from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.auth.authenticator import SigningKey, Upgrade
from receiver.auth.twilio_signature import HEADER, MAX_ADDRESS_BYTES, TwilioSignature, signature
from receiver.errors import AccessDenied

KEY = "0123456789abcdef0123456789abcdef"
NEXT = "fedcba9876543210fedcba9876543210"
KEYS = [SigningKey("key", KEY), SigningKey("secondary_key", NEXT)]
URL = "wss://voice.example.com"
PATH = "/calls/a%20b"
NAME = HEADER.lower().encode()
Headers = list[tuple[bytes, bytes]]


def openssl(text: str, key: str = KEY) -> str:
    """The signature by its definition, without our code."""
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha1).digest()).decode()


def _upgrade(presented: str | bytes, path: str = PATH, query: str = "") -> Upgrade:
    value = presented.encode() if isinstance(presented, str) else presented
    return Upgrade([(b"host", b"proxy.internal:8080"), (NAME, value)], path.encode(), query.encode())


def _admitted(upgrade: Upgrade, public_url: str = URL) -> str:
    return TwilioSignature(lambda: KEYS, public_url).authenticate(upgrade, 0.0)


def _denied(upgrade: Upgrade, public_url: str = URL) -> AccessDenied:
    with pytest.raises(AccessDenied) as caught:
        _admitted(upgrade, public_url)
    return caught.value


def test_the_published_example_comes_out() -> None:
    # https://www.twilio.com/docs/usage/security: the parameters of a form, behind an address with a query of its own
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert signature("12345", url, form.items()) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    assert signature("12345", url, reversed(form.items())) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


@pytest.mark.parametrize("name", [HEADER.encode(), NAME, HEADER.upper().encode()])
def test_the_address_signed_with_a_key_comes_in_under_the_keys_name(name: bytes) -> None:
    for key in KEYS:
        assert _admitted(Upgrade([(name, openssl(URL + PATH, key.text).encode())], PATH.encode())) == key.name


@pytest.mark.parametrize("public_url", ["wss://voice.example.com", "https://voice.example.com:443"])
@pytest.mark.parametrize("scheme", ["wss", "https"])
@pytest.mark.parametrize("port", ["", ":443"])
@pytest.mark.parametrize("end", ["", "/"])
def test_every_spelling_of_the_address_counts(public_url: str, scheme: str, port: str, end: str) -> None:
    address = f"{scheme}://voice.example.com{port}{PATH}{end}"
    assert _admitted(_upgrade(openssl(address)), public_url) == "key"
    assert _admitted(_upgrade(openssl(address), f"{PATH}/"), public_url) == "key"
    assert _admitted(_upgrade(openssl(f"{address}?b=2&a=%C3%A9&b=1&c="), query="b=2&a=%C3%A9&b=1&c="), public_url)
    assert _admitted(_upgrade(openssl(f"{address}a\u00e9b2b1c"), query="b=2&a=%C3%A9&b=1&c="), public_url) == "key"


def test_the_root_has_a_slash_or_none() -> None:
    for signed in (URL, f"{URL}/"):
        assert _admitted(_upgrade(openssl(signed), "/")) == "key"


@pytest.mark.parametrize(
    "public_url", ["wss://a.example:8443", "wss://a.example:8443/below", "wss://[2001:db8::1]:8443"]
)
def test_another_port_and_a_prefix_belong_to_the_address(public_url: str) -> None:
    assert _admitted(_upgrade(openssl(public_url + PATH)), public_url) == "key"
    without = public_url.replace(":8443", "")
    for wrong in (without, public_url.replace("8443", "443"), public_url.replace("/below", "")):
        if wrong != public_url:
            assert _denied(_upgrade(openssl(wrong + PATH)), public_url).status == 403


def test_an_address_of_numbers_has_its_port_as_well() -> None:
    for signed in ("wss://[2001:db8::1]", "wss://[2001:db8::1]:443"):
        assert _admitted(_upgrade(openssl(signed + PATH)), "wss://[2001:db8::1]") == "key"


def _addresses_that_are_not_ours() -> Iterator[str]:
    yield from ("", URL, f"{URL}/", PATH, f"{URL}/calls", f"{URL}{PATH}x", f"{URL}{PATH}//", f"{URL}/calls/a b")
    yield from (f"ws://voice.example.com{PATH}", f"http://voice.example.com{PATH}", f"voice.example.com{PATH}")
    yield from (f"wss://voice.example.com:80{PATH}", f"wss://voice.example.com.{PATH}", f"{URL}:443:443{PATH}")
    yield from (
        f"wss://proxy.internal:8080{PATH}",
        f"wss://VOICE.example.com{PATH}",
        f"wss://user@voice.example.com{PATH}",
    )
    yield from (f"{URL}{PATH}?", f"{URL}{PATH}?a=1", f"{URL}{PATH}a1", f"{URL}{PATH}#", f"{URL}{PATH.upper()}")
    yield from (f"{URL}/calls/a%20B", f"{URL}/calls/a%2520b", f" {URL}{PATH}", f"{URL}{PATH}\n", f"{URL}{PATH}\0")


def _signatures_that_are_not_one() -> Iterator[bytes]:
    right = openssl(URL + PATH)
    yield from (right[:end].encode() for end in range(len(right)))
    yield from (right[start:].encode() for start in range(1, len(right)))
    for place in range(len(right)):
        for bit in (0x01, 0x02, 0x20, 0x80):
            yield right[:place].encode("latin-1") + bytes([ord(right[place]) ^ bit]) + right[place + 1 :].encode()
    for extra in (b"=", b" ", b"\n", b"A", b"\0", b",", b"\xff", right.encode()):
        yield from (right.encode() + extra, extra + right.encode())
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    yield from ((right[:-2] + last[last.index(right[-2]) ^ spare] + "=").encode() for spare in (1, 2, 3))
    digest = base64.b64decode(right)
    yield from (digest, digest.hex().encode(), base64.b64encode(digest[:19]), base64.b64encode(digest + b"\0"))
    yield from (base64.b64encode(digest.hex().encode()), b'"' + right.encode() + b'"', b"sha1=" + right.encode())
    yield from (base64.b64encode(bytes(20)), b"", b"x" * 8000, KEY.encode(), base64.b64encode(KEY.encode()))
    sha256 = hmac.digest(KEY.encode(), (URL + PATH).encode(), "sha256")
    yield from (base64.b64encode(sha256), base64.b64encode(sha256[:20]))
    yield base64.b64encode(hmac.digest((URL + PATH).encode(), KEY.encode(), "sha1"))
    yield base64.b64encode(hashlib.sha1((KEY + URL + PATH).encode()).digest())
    for key in ("", " ", f"{KEY} ", f"{KEY}\n", KEY.upper(), KEY[:-1], "key", "12345"):
        yield openssl(URL + PATH, key).encode()


def test_no_way_past_it_is_known() -> None:
    bypasses = [_upgrade(openssl(address)) for address in _addresses_that_are_not_ours()]
    bypasses += [_upgrade(wrong) for wrong in _signatures_that_are_not_one()]
    right = openssl(URL + PATH)
    bypasses += [_upgrade(right, query=query) for query in ("a", "a=1", "&", "=", "&=&", "bodySHA256=")]
    bypasses += [
        _upgrade(right, path) for path in ("/", "", "/calls", "/calls/a b", f"{PATH}/x", f"/{PATH}", f"{PATH}//")
    ]
    for name in (
        b"x-signalwire-signature",
        b"x-twilio-signature ",
        b"twilio-signature",
        b"authorization",
        b"signature",
    ):
        bypasses.append(Upgrade([(name, right.encode())], PATH.encode()))
    forwarded = [(b"x-forwarded-host", b"evil.example"), (b"x-forwarded-proto", b"ws"), (b"host", b"evil.example")]
    bypasses.append(Upgrade([*forwarded, (NAME, openssl(f"wss://evil.example{PATH}").encode())], PATH.encode()))
    for first, second in ((right, right), (right, "x"), ("x", right), (right, ""), ("", right)):
        bypasses.append(Upgrade([(NAME, first.encode()), (HEADER.encode(), second.encode())], PATH.encode()))
    bypasses.append(Upgrade([], PATH.encode(), right.encode(), {"token": right}))
    another = [(NAME, openssl(f"{URL}/calls/acme").encode())]
    bypasses.append(Upgrade(another, b"/calls/a", b"cme=", {"tenant": "a"}))
    bypasses.append(Upgrade(another, b"/calls/", b"acme=", {"tenant": "x"}))
    assert len(bypasses) >= 200
    for upgrade in bypasses:
        denied = _denied(upgrade)
        assert (denied.status, denied.headers) == (403, {}), (upgrade.headers, upgrade.path, upgrade.query)
        assert KEY not in f"{denied} {denied.reason}" and right not in f"{denied} {denied.reason}"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([], "signature_missing"),
        ([(NAME, b"not base64")], "signature_unusable"),
        ([(NAME, b"QUJD")], "signature_unusable"),
        ([(NAME, openssl("else").encode())], "signature_wrong"),
        ([(NAME, openssl(URL + PATH).encode())] * 2, "signature_repeated"),
    ],
)
def test_our_own_log_learns_why_in_one_word(headers: Headers, reason: str) -> None:
    assert _denied(Upgrade(headers, PATH.encode())).reason == reason


def test_an_address_of_any_length_costs_a_limited_amount_of_work() -> None:
    path, query = "/" + "a" * 100, "b=" + "c" * (MAX_ADDRESS_BYTES - 103)
    assert _admitted(_upgrade(openssl(f"{URL}{path}?{query}"), path, query)) == "key"
    denied = _denied(_upgrade(openssl(f"{URL}{path}?{query}c"), path, query + "c"))
    assert (denied.status, denied.reason) == (403, "signature_address_too_long")


def test_keys_are_asked_for_at_every_handshake() -> None:
    keys = list(KEYS)
    authenticator = TwilioSignature(lambda: keys, URL)
    assert authenticator.authenticate(_upgrade(openssl(URL + PATH)), 0.0) == "key"
    del keys[0]
    with pytest.raises(AccessDenied):
        authenticator.authenticate(_upgrade(openssl(URL + PATH)), 0.0)


@given(value=st.binary(max_size=60), path=st.binary(max_size=60), query=st.binary(max_size=60))
def test_no_random_request_comes_in(value: bytes, path: bytes, query: bytes) -> None:
    assert _denied(Upgrade([(NAME, value)], path, query)).status == 403
