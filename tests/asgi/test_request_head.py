"""A head is what it is however it is split; tests/asgi/test_request.py has what is answered."""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS

from receiver.asgi.request_head import MOST_LINE_BYTES, RequestHead
from receiver.config import Limits
from receiver.errors import AccessDenied

PLAIN = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"


def _fed(*pieces: bytes, header_bytes: int = 16_384, headers: int = 64) -> RequestHead | tuple[int, str]:
    head = RequestHead(header_bytes=header_bytes, headers=headers)
    try:
        for piece in pieces:
            if head.feed(piece):
                break
    except AccessDenied as denied:
        return denied.status, denied.reason
    return head


def _outcome(*pieces: bytes) -> object:
    fed = _fed(*pieces, header_bytes=400, headers=8)
    return (fed.complete, fed.upgrade, fed.text() if fed.complete else b"") if isinstance(fed, RequestHead) else fed


def test_a_head_is_complete_at_its_empty_line_and_hands_on_what_is_behind_it() -> None:
    fed = _fed(PLAIN[:-1])
    assert isinstance(fed, RequestHead) and not fed.complete and fed.begun
    assert fed.feed(b"\nbehind")
    assert (fed.complete, fed.upgrade, fed.method, fed.text()) == (True, False, b"GET", PLAIN + b"behind")


def test_nothing_has_begun_before_the_first_byte() -> None:
    head = RequestHead(header_bytes=16_384, headers=64)
    assert not head.begun
    assert not head.feed(b"G")
    assert head.begun and head.method == b"G"


LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST / HTTP/1.0\r\n",
        b"Host: a\r\n",
        b"Upgrade: websocket\r\n",
        b"Connection: Upgrade\r\n",
        b"Sec-WebSocket-Version: 13\r\n",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        b"Content-Length: 3\r\n",
        b"Authorization: Bearer a\r\n",
        b"Authorization: Bearer " + b"a" * 250 + b"\r\n",
        b"X: " + b"x" * 150 + b"\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\0",
        b"\xff\r\n",
    ]
)


@given(st.lists(LINES, max_size=12), st.lists(st.integers(0, 600), max_size=6))
def test_where_the_segments_end_makes_no_difference(lines: list[bytes], cuts: list[int]) -> None:
    """But for what is behind a head: that belongs to whoever reads on."""
    start = b"GET / HTTP/1.1\r\nHost: a\r\n"
    for whole in (b"".join(lines), start + b"".join(lines)):
        end = whole.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in whole else len(whole)
        whole = whole[:end]
        places = sorted({0, len(whole), *(min(cut, len(whole)) for cut in cuts)})
        pieces = [whole[a:b] for a, b in pairwise(places)]
        assert _outcome(*pieces) == _outcome(whole)
        assert _outcome(*(whole[at : at + 1] for at in range(len(whole)))) == _outcome(whole)


@given(st.binary(max_size=300))
def test_whatever_arrives_is_taken_or_refused(data: bytes) -> None:
    _outcome(data)
    _outcome(b"GET / HTTP/1.1\r\nHost: a\r\n" + data)


@given(st.lists(LINES, max_size=8))
def test_what_is_taken_ends_for_h11_where_it_ends_for_us_or_is_refused_by_it(lines: list[bytes]) -> None:
    fed = _fed(b"GET / HTTP/1.1\r\nHost: a\r\n", *lines, b"\r\n\r\n")
    if isinstance(fed, RequestHead):
        assert fed.complete
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(fed.text().partition(b"\r\n\r\n")[0] + b"\r\n\r\nbehind")
        with suppress(h11.RemoteProtocolError):
            assert isinstance(connection.next_event(), h11.Request)
            assert connection.trailing_data[0].endswith(b"behind") or b"Content-Length" in fed.text()


def test_each_byte_is_looked_at_once() -> None:
    head = RequestHead(header_bytes=65_536, headers=64)
    head.feed(b"GET / HTTP/1.1\r\nAuthorization: ")
    began = time.process_time()
    for _ in range(60_000):
        head.feed(b"x")
    assert time.process_time() - began < 5  # quadratic, it would be a minute


def test_a_token_that_is_too_long_is_replaced_by_none_and_its_size_counts() -> None:
    long = b"authorization: Bearer " + b"x" * 9000 + b"\r\n"
    fed = _fed(PLAIN[:-2], long, b"\r\n")
    assert isinstance(fed, RequestHead)
    assert fed.text() == PLAIN[:-2] + b"Authorization:\r\n\r\n"
    assert _fed(PLAIN[:-2], long, long, b"\r\n") == (431, "headers_too_large")
    assert _fed(PLAIN[:-2], b"authorization: a\r\n", long, b"\r\n") == (400, "authorization_repeated")


@pytest.mark.parametrize("header_bytes", [1024, 16_384, 65_536])
def test_no_line_takes_more_than_half_and_none_more_than_websockets_reads(header_bytes: int) -> None:
    most = min(header_bytes // 2, MOST_LINE_BYTES)
    for size, expected in ((most, True), (most + 1, False)):
        line = b"X: " + b"x" * (size - 5) + b"\r\n"
        assert isinstance(_fed(PLAIN[:-2], line, b"\r\n", header_bytes=header_bytes), RequestHead) is expected
        path = b"GET /" + b"x" * (size - 16) + b" HTTP/1.1\r\n"
        assert isinstance(_fed(path, b"\r\n", header_bytes=header_bytes), RequestHead) is expected


def test_websockets_reads_what_we_let_through() -> None:
    assert MOST_LINE_BYTES + 1 <= MAX_LINE_LENGTH
    most = next(part.le for part in Limits.model_fields["headers"].metadata if hasattr(part, "le"))
    assert most <= MAX_NUM_HEADERS
