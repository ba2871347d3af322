"""The request as a scope, and the answer that refuses it; over real sockets they are in test_protocol.py."""

import asyncio
from typing import Any, cast

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from receiver.asgi.upgrade import refusal, scope_of


class Plain(asyncio.Transport):
    """A transport that says where it leads, as asyncio's do."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"sockname": ("127.0.0.1", 80), "peername": ("192.0.2.1", 4711)}.get(name, default)


class Encrypted(Plain):
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return "a context" if name == "sslcontext" else super().get_extra_info(name, default)


def scope(path: str, *headers: tuple[str, str], transport: type[Plain] = Plain, **state: Any) -> dict[str, Any]:
    return scope_of(Request(path, Headers(list(headers))), transport(), state)


def test_a_path_is_decoded_and_kept_as_it_came() -> None:
    told = scope("/calls/a%2Fb%20c?x=%31&y")
    assert (told["path"], told["raw_path"]) == ("/calls/a/b c", b"/calls/a%2Fb%20c")
    assert told["query_string"] == b"x=%31&y"


def test_headers_are_lower_case_bytes_in_their_order_and_may_be_repeated() -> None:
    told = scope("/", ("X-One", "1"), ("Host", "here"), ("x-one", "\xe9"))
    assert told["headers"] == [(b"x-one", b"1"), (b"host", b"here"), (b"x-one", b"\xe9")]


def test_subprotocols_are_of_all_headers_that_offer_some() -> None:
    offered = scope("/", ("Sec-WebSocket-Protocol", "audio, other"), ("Sec-WebSocket-Protocol", "third"))
    assert offered["subprotocols"] == ["audio", "other", "third"]
    assert scope("/")["subprotocols"] == []


@pytest.mark.parametrize(("transport", "scheme"), [(Plain, "ws"), (Encrypted, "wss")])
def test_where_it_leads_is_told(transport: type[Plain], scheme: str) -> None:
    told = scope("/", transport=transport)
    assert (told["scheme"], told["server"], told["client"]) == (scheme, ("127.0.0.1", 80), ("192.0.2.1", 4711))


def test_every_connection_has_a_state_of_its_own() -> None:
    state: dict[str, Any] = {"shared": 1}
    first = scope_of(Request("/", Headers()), cast(asyncio.Transport, Plain()), state)
    first["state"]["more"] = 2
    assert state == {"shared": 1}


def test_a_refusal_says_how_long_it_is_and_that_it_is_the_end() -> None:
    answer = refusal(418, [(b"X-Pot", b"tea")], b"teapot")
    assert (answer.status_code, answer.reason_phrase, answer.body) == (418, "I'm a Teapot", b"teapot")
    assert {name.lower() for name in answer.headers} == {
        "x-pot",
        "date",
        "connection",
        "content-length",
        "content-type",
    }
    assert (answer.headers["Connection"], answer.headers["Content-Length"]) == ("close", "6")


def test_what_the_application_says_of_it_stands_and_a_status_needs_no_name() -> None:
    answer = refusal(499, [(b"content-type", b"application/json")], b"{}")
    assert (answer.reason_phrase, answer.headers["Content-Type"]) == ("", "application/json")
