"""Frames read into messages: by themselves, and compared with the parser of websockets for any bytes, however cut."""

import importlib.util
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from websockets.frames import Close, apply_mask
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from receiver.asgi.frames import HEADER_BYTES, Data, FrameReader

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN = 0x80
MASK = b"\x01\xfe\x55\x80"


def _compared() -> Any:
    spec = importlib.util.spec_from_file_location("agreement", Path(__file__).parents[2] / "fuzzing" / "agreement.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


compared = _compared()
Bounds, agree = compared.Bounds, compared.agree


def frame(
    first: int, payload: bytes = b"", *, mask: bytes | None = MASK, form: int = 0, claimed: int | None = None
) -> bytes:
    """A frame whose first byte is ``first``; ``form`` is how many bytes its length takes at least: 0, 2 or 8."""
    length = len(payload) if claimed is None else claimed
    masked = 0x80 if mask is not None else 0
    if length > 65_535 or form == 8:
        header = struct.pack("!BBQ", first, masked | 127, length)
    elif length > 125 or form == 2:
        header = struct.pack("!BBH", first, masked | 126, length)
    else:
        header = struct.pack("!BB", first, masked | length)
    return header + payload if mask is None else header + mask + apply_mask(payload, mask)


def text(content: str) -> bytes:
    return frame(FIN | TEXT, content.encode())


class Peer:
    """A connection that is read from: what was sent in answer, and what is held between reads."""

    def __init__(self, *, message_bytes: int | None = 1024, fragments: int = 128) -> None:
        self.connection = ServerProtocol(state=OPEN, max_size=message_bytes)
        self.reader = FrameReader(self.connection, fragments=fragments)
        self.sent = b""

    def send(self, *pieces: bytes) -> list[Data]:
        """Each piece is a read of its own."""
        messages = []
        for piece in pieces:
            data = self.reader.held + piece
            messages += self.reader.read(data, len(data))
            self.sent += b"".join(self.connection.data_to_send())
        return messages

    @property
    def closed_with(self) -> int | None:
        """The code of our close frame."""
        return None if self.connection.close_sent is None else self.connection.close_sent.code


@pytest.mark.parametrize("length", [0, 1, 2, 125, 126, 127, 1023, 1024])
def test_a_text_is_read_at_once_or_byte_by_byte(length: int) -> None:
    message = "é" * (length // 2) + "x" * (length % 2)
    data = text(message)
    assert Peer().send(data) == [message]
    assert Peer().send(data * 3) == [message] * 3
    peer = Peer()
    assert peer.send(*(data[place : place + 1] for place in range(len(data)))) == [message]
    assert (peer.reader.held, peer.sent, peer.reader.over) == (b"", b"", False)


@pytest.mark.parametrize("length", [65_535, 65_536])
def test_the_largest_messages_have_lengths_of_two_and_of_eight_bytes(length: int) -> None:
    for first, message in ((FIN | TEXT, "x" * length), (FIN | BINARY, b"x" * length)):
        peer = Peer(message_bytes=65_536)
        data = frame(first, b"x" * length)
        assert peer.send(data[:70], data[70:60_000], data[60_000:] + text("more")) == [message, "more"]


@pytest.mark.parametrize("form", [2, 8])
def test_a_length_may_take_more_bytes_than_it_needs(form: int) -> None:
    assert Peer().send(frame(FIN | TEXT, b"hello", form=form) + text("more")) == ["hello", "more"]
    assert Peer().send(frame(FIN | PING, b"hello", form=form) + text("more")) == ["more"]


def test_what_lies_behind_the_bytes_that_were_read_is_not_looked_at() -> None:
    peer = Peer()
    buffer = bytearray(text("one") + text("two"))
    assert peer.reader.read(buffer, len(text("one")) + 5) == ["one"]
    assert peer.reader.held == text("two")[:5]


def test_messages_outlive_the_buffer_that_they_were_read_from() -> None:
    peer = Peer()
    buffer = bytearray(text("text") + frame(FIN | BINARY, b"bytes") + text("held back")[:9])
    messages = peer.reader.read(buffer, len(buffer))
    buffer[:] = b"\0" * len(buffer)
    assert (messages, peer.reader.held) == (["text", b"bytes"], text("held back")[:9])
    assert type(messages[1]) is bytes


def test_an_incomplete_message_is_held_and_never_given_to_the_parser_in_parts() -> None:
    peer = Peer()
    data = frame(FIN | BINARY, b"x" * 1000)
    peer.send(data[:500])
    assert peer.reader.held == data[:500]
    assert not peer.connection.reader.buffer


def test_what_is_held_never_exceeds_the_largest_frame() -> None:
    peer = Peer()
    data = frame(FIN | TEXT, b"x" * 1024, form=8)
    for place in range(len(data) - 1):
        assert peer.send(data[place : place + 1]) == []
        assert len(peer.reader.held) == place + 1 < 1024 + HEADER_BYTES
    assert peer.send(data[-1:]) == ["x" * 1024]


@pytest.mark.parametrize("kind", [TEXT, BINARY])
def test_fragments_are_joined_with_pings_between_them(kind: int) -> None:
    peer = Peer()
    data = "ä€😀".encode()  # cut in the middle of each character
    pieces = [
        frame(kind, data[:1]),
        frame(CONT, data[1:3]),
        frame(FIN | PING, b"?"),
        frame(CONT),
        frame(CONT, data[3:7]),
    ]
    assert peer.send(*pieces) == []
    assert peer.send(frame(FIN | CONT, data[7:]) + text("more")) == ["ä€😀" if kind == TEXT else data, "more"]
    assert peer.sent == b"\x8a\x01?"


def test_a_large_fragment_is_given_to_the_parser_as_it_comes() -> None:
    peer = Peer()
    whole = frame(TEXT, b"a" * 500) + frame(FIN | CONT, b"b" * 500) + text("more")
    assert peer.send(whole[:300], whole[300:600], whole[600:]) == ["a" * 500 + "b" * 500, "more"]


def test_a_ping_is_answered_with_its_own_payload_and_a_pong_is_noted() -> None:
    peer = Peer()
    assert peer.send(text("one") + frame(FIN | PING, b"x" * 125) + text("two")) == ["one", "two"]
    assert peer.sent == b"\x8a\x7d" + b"x" * 125
    assert not peer.reader.ponged
    assert peer.send(frame(FIN | PONG) + text("three")) == ["three"]
    assert peer.reader.ponged
    assert peer.sent == b"\x8a\x7d" + b"x" * 125


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye"), (4999, "😀")])
def test_a_close_frame_is_answered_and_nothing_is_read_after_it(code: int, reason: str) -> None:
    peer = Peer()
    close = struct.pack("!H", code) + reason.encode()
    assert peer.send(text("before") + frame(FIN | CLOSE, close) + text("after")) == ["before"]
    assert peer.send(text("later"), frame(FIN | PING)) == []
    assert peer.reader.over
    assert peer.connection.close_rcvd == Close(code, reason)
    assert peer.sent == bytes((0x88, len(close))) + close


BAD = {
    "unmasked": (frame(FIN | TEXT, b"x", mask=None), 1002),
    "unmasked and empty": (frame(FIN | TEXT, mask=None), 1002),
    "unmasked ping": (frame(FIN | PING, mask=None), 1002),
    "first reserved bit": (frame(FIN | 0x40 | TEXT, b"x"), 1002),
    "second reserved bit": (frame(FIN | 0x20 | TEXT), 1002),
    "third reserved bit": (frame(FIN | 0x10 | PING), 1002),
    "reserved opcode": (frame(FIN | 0x3), 1002),
    "reserved control opcode": (frame(FIN | 0xB), 1002),
    "long ping": (frame(FIN | PING, b"x" * 126), 1002),
    "fragmented ping": (frame(PING), 1002),
    "continuation of nothing": (frame(FIN | CONT, b"x"), 1002),
    "text within a text": (frame(TEXT, b"a") + frame(FIN | TEXT, b"b"), 1002),
    "binary within a text": (frame(TEXT, b"a") + frame(FIN | BINARY, b"b"), 1002),
    "close within a text": (frame(TEXT, b"a") + frame(FIN | CLOSE), 1002),
    "more than the limit": (frame(FIN | TEXT, b"x" * 1025), 1009),
    "2**63 bytes": (frame(FIN | TEXT, claimed=2**63), 1009),
    "2**64 - 1 bytes of binary": (frame(FIN | BINARY, claimed=2**64 - 1), 1009),
    "a ping of 2**63 bytes": (frame(FIN | PING, claimed=2**63), 1009),
    "fragments above the limit": (frame(TEXT, b"x" * 1000) + frame(CONT, b"x" * 25), 1009),
    "129 fragments": (frame(TEXT) + frame(CONT) * 128, 1009),
    "text that is not UTF-8": (frame(FIN | TEXT, b"\xc3\x28"), 1007),
    "text that ends within a character": (frame(FIN | TEXT, b"\xe2\x82"), 1007),
    "short text that is not UTF-8": (frame(FIN | TEXT, b"\xff"), 1007),
    "fragments that are not UTF-8": (frame(TEXT, b"\xe2\x82") + frame(FIN | CONT, b"\x28"), 1007),
    "close with one byte": (frame(FIN | CLOSE, b"\x03"), 1002),
    "close with 1005": (frame(FIN | CLOSE, struct.pack("!H", 1005)), 1002),
    "close with 999": (frame(FIN | CLOSE, struct.pack("!H", 999)), 1002),
    "close with a reason that is not UTF-8": (frame(FIN | CLOSE, b"\x03\xe8\xff"), 1007),
}


@pytest.mark.parametrize("pieces", ["one", "bytes"])
@pytest.mark.parametrize(("bad", "code"), BAD.values(), ids=BAD)
def test_what_was_valid_before_something_wrong_is_delivered(bad: bytes, code: int, pieces: str) -> None:
    peer = Peer()
    data = text("one") + frame(FIN | BINARY, b"two") + text("three" * 50) + bad + text("after")
    reads = [data] if pieces == "one" else [data[place : place + 1] for place in range(len(data))]
    assert peer.send(*reads) == ["one", b"two", "three" * 50]
    assert (peer.closed_with, peer.reader.over, peer.reader.held) == (code, True, b"")
    assert peer.sent[:4] == bytes((0x88, len(peer.sent) - 2)) + struct.pack("!H", code)
    assert peer.send(text("later"), frame(FIN | PING)) == []
    assert len(peer.sent) == peer.sent[1] + 2


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (frame(FIN | 0x3, b"x" * 200)[:2], 1002),
        (frame(FIN | TEXT, b"x" * 200, mask=None)[:2], 1002),
        (frame(FIN | TEXT, claimed=1025)[:4], 1009),
        (frame(FIN | PING, claimed=2**63)[:10], 1009),
    ],
    ids=["reserved opcode", "unmasked", "large", "huge ping"],
)
def test_what_a_header_shows_to_be_wrong_is_not_waited_for(bad: bytes, code: int) -> None:
    for pieces in ([text("one") + bad], [text("one"), *(bad[place : place + 1] for place in range(len(bad)))]):
        peer = Peer()
        assert peer.send(*pieces) == ["one"]
        assert (peer.closed_with, peer.reader.over, peer.reader.held) == (code, True, b"")


@pytest.mark.parametrize("fragments", [1, 3, 128])
def test_a_message_may_come_in_so_many_fragments_and_no_more(fragments: int) -> None:
    peer = Peer(fragments=fragments)
    parts = [frame(TEXT, b"x"), *[frame(CONT, b"x")] * (fragments - 2), frame(FIN | CONT, b"x")]
    allowed = parts if fragments > 1 else [text("x")]
    assert peer.send(*allowed, *allowed) == ["x" * fragments] * 2
    assert peer.send(frame(TEXT, b"x"), *[frame(CONT)] * (fragments - 1), text("?")[:0]) == []
    assert not peer.reader.over
    assert peer.send(frame(FIN | CONT)) == []
    assert (peer.closed_with, peer.reader.over) == (1009, True)


def test_so_many_pings_and_pongs_are_allowed_until_it_is_said_anew() -> None:
    peer = Peer()
    peer.reader.allow(3)
    assert peer.send(frame(FIN | PING, b"1") + frame(FIN | PONG) + text("a") + frame(FIN | PING, b"2")) == ["a"]
    peer.reader.allow(1)
    assert peer.send(frame(FIN | PING, b"3")) == []
    assert not peer.reader.over
    assert peer.send(text("b") + frame(FIN | PING, b"4") + text("c")) == ["b"]
    assert (peer.closed_with, peer.reader.over) == (1008, True)


def test_any_number_of_pings_is_allowed_where_none_is_said_and_a_close_is_always() -> None:
    peer = Peer()
    assert peer.send(frame(FIN | PING) * 1000) == []
    peer.reader.allow(0)
    peer.reader.allow(None)
    assert peer.send(frame(FIN | PING) * 1000) == []
    peer.reader.allow(0)
    peer.send(frame(FIN | CLOSE))
    assert peer.connection.close_rcvd == Close(1005, "")
    assert (peer.sent, peer.reader.over) == (b"\x8a\x00" * 2000 + b"\x88\x00", True)


def test_after_a_failure_that_was_asked_for_nothing_more_is_read() -> None:
    for part in (0, 3, 9, 30):
        peer = Peer()
        data = frame(TEXT, b"x" * 40)
        peer.send(text("before"), data[:part])
        peer.reader.fail(1008, "enough")
        assert peer.send(data[part:], text("after")) == []
        assert (peer.closed_with, peer.reader.over) == (1008, True)


def test_a_pong_that_was_asked_for_is_not_counted() -> None:
    peer = Peer()
    peer.reader.allow(1)
    peer.reader.asked = 2
    assert peer.send(frame(FIN | PONG) * 3 + text("a")) == ["a"]
    assert (peer.reader.asked, peer.reader.over) == (0, False)
    assert peer.send(frame(FIN | PONG) + text("b")) == []
    assert peer.closed_with == 1008


@pytest.mark.parametrize("first", [FIN | TEXT, FIN | BINARY, FIN | PING, TEXT, CONT, FIN | CONT])
@pytest.mark.parametrize("length", [1, 100, 200])
def test_it_is_told_whether_a_message_has_begun_and_not_ended(first: int, length: int) -> None:
    peer = Peer()
    assert not peer.reader.midway
    if first & ~FIN == CONT:
        peer.send(frame(TEXT, b"x"))
    data = frame(first, b"x" * min(length, 125 if first == FIN | PING else length))
    for place in range(len(data) - 1):
        peer.send(data[place : place + 1])
        assert peer.reader.midway
    peer.send(data[-1:])
    assert peer.reader.midway != bool(first & FIN)


def test_our_own_close_frame_ends_nothing_until_the_peer_answers_it() -> None:
    peer = Peer()
    peer.connection.send_close(1000)
    assert peer.send(frame(FIN | PING) + text("on its way")) == ["on its way"]
    assert not peer.reader.over
    assert peer.send(frame(FIN | CLOSE, b"\x03\xe8") + text("after")) == []
    assert peer.reader.over


def test_without_a_limit_any_size_is_read() -> None:
    peer = Peer(message_bytes=None)
    data = (
        text("x" * 200_000) + frame(FIN | BINARY, b"y" * 70_000) + frame(TEXT, b"z" * 70_000) + frame(FIN | CONT, b"z")
    )
    assert peer.send(data[:100_000], data[100_000:]) == ["x" * 200_000, b"y" * 70_000, "z" * 70_001]


# In agreement with the parser of websockets, whatever comes and however it is cut.

SIZES = st.one_of(
    st.integers(0, 20),
    st.sampled_from([124, 125, 126, 127, 128, 129]),
    st.integers(0, 1100),
    st.sampled_from([65_534, 65_535, 65_536, 65_537]),
)
TEXTS = st.sampled_from(["x", '{"event":"media"}', "é", "€", "😀", "\0", "日本語"])
NOT_UTF_8 = st.sampled_from([b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe2\x82"])
CODES = st.one_of(
    st.sampled_from([1000, 1001, 1004, 1005, 1006, 1011, 1015, 2999, 3000, 4999, 5000, 999, 0]), st.integers(0, 65_535)
)


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """Mostly UTF-8, of sizes around those where something changes."""
    size = draw(SIZES)
    piece = draw(TEXTS).encode()
    data = (piece * (size // len(piece) + 1))[:size]
    kind = draw(st.integers(0, 9))
    if kind == 0:  # cut anywhere, also within a character
        return data
    if kind == 1:
        place = draw(st.integers(0, size))
        return data[:place] + draw(NOT_UTF_8) + data[place:]
    return data.decode(errors="ignore").encode()


@st.composite
def wholes(draw: st.DrawFn) -> bytes:
    return frame(FIN | draw(st.sampled_from([TEXT, TEXT, TEXT, BINARY])), draw(payloads()), form=draw(forms))


@st.composite
def fragmented(draw: st.DrawFn) -> bytes:
    """A message in fragments, some of them empty, with control frames between them; it may be too much or not end."""
    data = draw(payloads())
    count = draw(st.one_of(st.integers(1, 6), st.sampled_from([19, 20, 21, 127, 128, 129])))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), min_size=min(count, 6) - 1, max_size=min(count, 6) - 1)))
    parts = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    parts += [b""] * (count - len(parts))
    kind = draw(st.sampled_from([TEXT, TEXT, BINARY]))
    ends = draw(st.integers(0, 9)) > 0
    said = b""
    for number, part in enumerate(parts):
        first = (kind if number == 0 else CONT) | (FIN if ends and number == len(parts) - 1 else 0)
        said += frame(first, part)
        if draw(st.integers(0, 9)) == 0:
            said += draw(controls())
    return said


@st.composite
def controls(draw: st.DrawFn) -> bytes:
    return frame(FIN | draw(st.sampled_from([PING, PING, PONG])), draw(st.binary(max_size=125)), form=draw(forms))


@st.composite
def closes(draw: st.DrawFn) -> bytes:
    reason = draw(st.one_of(st.text(max_size=30).map(str.encode), NOT_UTF_8))
    payload = draw(st.one_of(st.binary(max_size=1), CODES.map(lambda code: struct.pack("!H", code) + reason)))
    return frame(FIN | CLOSE, payload)


@st.composite
def oddities(draw: st.DrawFn) -> bytes:
    """A frame of which anything may be wrong."""
    claimed = draw(st.one_of(st.none(), st.none(), st.sampled_from([2**63, 2**64 - 1, 1024, 1025, 65_537, 3])))
    mask = draw(st.one_of(st.none(), st.just(MASK), st.binary(min_size=4, max_size=4)))
    data = frame(draw(st.integers(0, 255)), draw(payloads()), mask=mask, form=draw(forms), claimed=claimed)
    return data[: draw(st.one_of(st.integers(1, 14), st.integers(0, len(data)), st.just(len(data))))]


forms = st.sampled_from([0, 0, 0, 0, 2, 8])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """What a peer sends: mostly what it may, for all is over with the first thing that it may not."""
    fine = st.one_of(wholes(), wholes(), wholes(), fragmented(), controls())
    any_of_them = st.one_of(fine, fine, fine, oddities(), closes(), st.binary(max_size=30))
    data = b"".join(draw(st.lists(fine, max_size=6)) + draw(st.lists(any_of_them, max_size=5)))
    for place, byte in draw(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=2)):
        if data:  # a byte of it has changed on its way
            data = data[: place % len(data)] + bytes((byte,)) + data[place % len(data) + 1 :]
    return data


bounds = st.builds(
    Bounds,
    message_bytes=st.sampled_from([1024, 1024, 65_536, None]),
    fragments=st.sampled_from([128, 20, 3, 1]),
    controls=st.sampled_from([None, None, 10, 1, 0]),
    asked=st.integers(0, 3),
)


@settings(database=None, deadline=None, max_examples=600)
@given(streams(), bounds, st.data())
@example(text("one") + frame(FIN | TEXT, b"\xff") + frame(FIN | CLOSE), Bounds(), None)
@example(text("one") + frame(TEXT, b"\xe2") + frame(FIN | PING) + frame(FIN | CONT, b"\x82\xac"), Bounds(), None)
def test_any_bytes_are_read_as_the_parser_reads_them_however_they_are_cut(
    stream: bytes, bounds: Any, data: Any
) -> None:
    outcome = agree(stream, [], bounds)
    event(f"closed with {outcome.sent_close and outcome.sent_close.code}")
    places = st.lists(st.integers(0, len(stream)), max_size=12)
    cuts = range(min(len(stream), 3000)) if data is None else data.draw(places)
    assert agree(stream, cuts, bounds) == outcome


@settings(database=None, deadline=None, max_examples=200)
@given(streams(), bounds)
def test_any_bytes_are_read_as_the_parser_reads_them_one_by_one(stream: bytes, bounds: Any) -> None:
    agree(stream, range(min(len(stream), 1500)), bounds)  # one by one to begin with; a copy of all held for each


@settings(database=None, deadline=None, max_examples=200)
@given(st.lists(st.one_of(wholes(), fragmented()), max_size=4), oddities(), st.data())
def test_nothing_that_was_whole_and_allowed_is_lost_by_what_follows(fine: list[bytes], bad: bytes, data: Any) -> None:
    bounds = Bounds(message_bytes=65_536)
    before = agree(b"".join(fine), [], bounds)
    stream = b"".join([*fine, bad])
    after = agree(stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=8)), bounds)
    assert after.messages[: len(before.messages)] == before.messages
