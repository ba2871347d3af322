"""Frames that are wrong, over raw sockets: the code that says why, and everything that was valid before them recorded.

The numbers in the names of cases are those of the catalogue of bad input that this project answers row by row.
"""

import base64
import contextlib
import json
import socket
import ssl
import struct
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.frames import apply_mask

from receiver.testing import run_receiver

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN = 0x80
MASK = b"\x01\xfe\x55\x80"
PACKET = 160
CERTIFICATE, KEY = (Path(__file__).parent / "tls" / name for name in ("certificate.pem", "key.pem"))


def frame(first: int, payload: bytes = b"", *, mask: bytes | None = MASK, claimed: int | None = None) -> bytes:
    """A frame whose first byte is ``first``, and whose length is that of its payload, or what is claimed."""
    length = len(payload) if claimed is None else claimed
    masked = 0x80 if mask is not None else 0
    if length > 65_535:
        header = struct.pack("!BBQ", first, masked | 127, length)
    elif length > 125:
        header = struct.pack("!BBH", first, masked | 126, length)
    else:
        header = struct.pack("!BB", first, masked | length)
    return header + payload if mask is None else header + mask + apply_mask(payload, mask)


def text(content: str) -> bytes:
    return frame(FIN | TEXT, content.encode())


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(FIN | CLOSE, struct.pack("!H", code) + reason)


CONNECTED = text('{"event":"connected","protocol":"Call","version":"0.2.0"}')
STOP = text('{"event":"stop","sequenceNumber":"99"}') + close(1000)  # and hangs up, as a platform does


def start(call: str) -> bytes:
    body = {
        "streamSid": f"stream-of-{call}",
        "accountSid": "an-account",
        "callSid": call,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-L16", "sampleRate": 8000, "channels": 1},
    }
    return text(json.dumps({"event": "start", "sequenceNumber": "1", "start": body}))


def spoken(first: int, last: int) -> list[int]:
    """The audio of packets: every sample of a stream is another number."""
    return list(range((first - 1) * PACKET, last * PACKET))


def media(first: int, last: int | None = None) -> bytes:
    """Packets, each a frame of its own."""
    said = []
    for chunk in range(first, (last or first) + 1):
        payload = base64.b64encode(np.array(spoken(chunk, chunk), "<i2").tobytes()).decode()
        body = {"track": "inbound", "chunk": str(chunk), "timestamp": str((chunk - 1) * 20), "payload": payload}
        said.append(text(json.dumps({"event": "media", "sequenceNumber": str(chunk + 1), "media": body})))
    return b"".join(said)


@dataclass
class Peer:
    """A socket after its handshake, and what it has read."""

    raw: socket.socket
    rest: bytes = b""
    controls: list[tuple[int, bytes]] = field(default_factory=list)
    """Pings and pongs of the server."""

    def send(self, data: bytes, *, pieces: int = 0) -> None:
        """Send it in one go, or in pieces of so many bytes; a server that has closed meanwhile does not mind."""
        size = pieces or max(len(data), 1)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for place in range(0, len(data), size):
                self.raw.sendall(data[place : place + size])

    def next(self) -> tuple[int, bytes] | None:
        """The next frame: its opcode, its payload; None at the end of what the server sends."""
        if not self._read_to(2):
            return None
        first, length = self.rest[0], self.rest[1]
        assert length < 126 and first & 0xF0 == FIN, "servers here send small, whole, unmasked frames only"
        assert self._read_to(2 + length)
        payload, self.rest = self.rest[2 : 2 + length], self.rest[2 + length :]
        return first & 0xF, payload

    def closed(self) -> tuple[int, str]:
        """Read on to the close frame: its code and its reason. The server sends nothing after it."""
        while True:
            got = self.next()
            assert got is not None, "the connection is gone without a close frame"
            if got[0] == CLOSE:
                break
            self.controls.append(got)
        assert not self.rest
        return struct.unpack("!H", got[1][:2])[0], got[1][2:].decode()

    def pong(self) -> bytes:
        """The payload of the next pong; nothing else is expected but pings."""
        while True:
            got = self.next()
            assert got is not None and got[0] in (PING, PONG)
            if got[0] == PONG:
                return got[1]

    def _read_to(self, size: int) -> bool:
        while len(self.rest) < size:
            try:
                more = self.raw.recv(65_536)
            except ConnectionResetError:
                more = b""
            if not more:
                return False
            self.rest += more
        return True


@dataclass
class Server:
    """A running server; every stream is recorded in a folder named after its call."""

    address: tuple[str, int]
    root: Path
    token: str
    tls: bool = False

    @contextlib.contextmanager
    def dial(self, *, buffer: int = 0) -> Iterator[Peer]:
        """Connect, and be accepted; ``buffer`` is how much the kernel keeps of what is not read, about."""
        host, port = self.address
        lines = [
            "GET /stream HTTP/1.1",
            f"Host: {host}:{port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Extensions: permessage-deflate",
            f"Authorization: Bearer {self.token}",
        ]
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(socket.socket())
            raw.settimeout(30)
            if buffer:  # the window of a connection that is open already cannot be taken back
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            raw.connect(self.address)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                trusting = ssl.create_default_context(cafile=CERTIFICATE)
                raw = stack.enter_context(trusting.wrap_socket(raw, server_hostname="127.0.0.1"))
            raw.sendall("\r\n".join([*lines, "", ""]).encode())
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += (more := raw.recv(65_536))
                assert more, answer
            head, _, rest = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ") and b"deflate" not in head
            yield Peer(raw, rest)

    def told(self, call: str) -> dict[str, Any]:
        """The stream.json of a call, once nothing is left to be done."""
        folder = self.root / call
        until(lambda: (folder / "stream.json").exists() and not (folder / "journal.jsonl").exists())
        told: dict[str, Any] = json.loads((folder / "stream.json").read_text())
        return told

    def audio(self, call: str) -> list[int]:
        samples: list[int] = soundfile.read(self.root / call / "inbound.wav", dtype="int16")[0].tolist()
        return samples


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


@contextlib.contextmanager
def serving(folder: Path, **tables: dict[str, Any]) -> Iterator[Server]:
    """A receiver on a free port, in a thread of its own, with the limits of a server."""
    tables["server"] = {"latency_ms": 5, **tables.get("server", {})}
    tables["recordings"] = {"path": "{call_id}"}
    with run_receiver(folder, **tables) as started:
        host, _, port = started.address.rpartition(":")
        yield Server((host, int(port)), started.directory, started.token, "tls" in tables["server"])


@pytest.fixture(scope="module", params=["swept", "tls"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Both ways to read: sockets that are swept, and, under TLS, the event loop with ``receive()``."""
    tls = {"tls": {"certificate": str(CERTIFICATE), "key": str(KEY)}} if request.param == "tls" else {}
    with serving(tmp_path_factory.mktemp("server"), server=tls) as started:
        yield started


@pytest.fixture
def call() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def neighbour(server: Server) -> Iterator[None]:
    """Another stream, whose audio is complete whatever happens beside it."""
    call = f"neighbour-{uuid.uuid4().hex}"
    with server.dial() as peer:
        peer.send(CONNECTED + start(call) + media(1, 3))
        yield
        peer.send(media(4, 6) + STOP)
        assert peer.closed()[0] == 1000
    told = server.told(call)
    assert (told["end"]["reason"], told["tracks"]["inbound"]["gaps"]) == ("stop", [])
    assert server.audio(call) == spoken(1, 6)


MARK = json.dumps({"event": "mark", "mark": {"name": "x" * 200}}).encode()
BAD = {
    "row-27-unmasked": (frame(FIN | TEXT, MARK, mask=None), 1002),
    "row-27-unmasked-and-empty": (frame(FIN | TEXT, mask=None), 1002),
    "row-27-unmasked-ping": (frame(FIN | PING, b"?", mask=None), 1002),
    "row-28-rsv1": (frame(FIN | 0x40 | TEXT, b"{}"), 1002),
    "row-28-rsv2": (frame(FIN | 0x20 | TEXT, b"{}"), 1002),
    "row-28-rsv3": (frame(FIN | 0x10 | BINARY, b"{}"), 1002),
    "row-28-rsv1-in-a-ping": (frame(FIN | 0x40 | PING), 1002),
    "row-28-rsv1-in-a-close": (frame(FIN | 0x40 | CLOSE, b"\x03\xe8"), 1002),
    **{f"row-29-opcode-{code:x}": (frame(FIN | code, b"x"), 1002) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "row-29-opcode-and-nothing-more": (frame(FIN | 0x3, b"x" * 200)[:2], 1002),
    "row-30-fragmented-ping": (frame(PING, b"x"), 1002),
    "row-30-fragmented-close": (frame(CLOSE, b"\x03\xe8"), 1002),
    "row-30-long-ping": (frame(FIN | PING, b"x" * 126), 1002),
    "row-30-long-pong": (frame(FIN | PONG, b"x" * 1000), 1002),
    "row-30-long-close": (close(1000, b"x" * 124), 1002),
    "row-31-continuation-of-nothing": (frame(FIN | CONT, b"x"), 1002),
    "row-31-first-fragment-of-nothing": (frame(CONT, b"x"), 1002),
    "row-31-text-within-a-text": (frame(TEXT, b"{") + text("{}"), 1002),
    "row-31-binary-within-a-text": (frame(TEXT, b"{") + frame(FIN | BINARY, b"{}"), 1002),
    "row-31-close-within-a-text": (frame(TEXT, b"{") + close(1000), 1002),
    "row-31-continuation-after-the-end": (frame(TEXT, b'{"event"') + frame(FIN | CONT, b':"x"}') + frame(CONT), 1002),
    "row-32-text-of-2-to-the-63-bytes": (frame(FIN | TEXT, claimed=2**63), 1009),
    "row-32-text-of-2-to-the-64-bytes-less-one": (frame(FIN | TEXT, claimed=2**64 - 1), 1009),
    "row-32-binary-of-2-to-the-62-bytes": (frame(FIN | BINARY, claimed=2**62), 1009),
    "row-32-ping-of-2-to-the-63-bytes": (frame(FIN | PING, claimed=2**63), 1009),
    "row-32-fragment-of-2-to-the-63-bytes": (frame(TEXT, b"{") + frame(CONT, claimed=2**63), 1009),
    "row-33-text-above-64-kib": (text("x" * 65_537), 1009),
    "row-33-binary-above-64-kib": (frame(FIN | BINARY, b"x" * 65_537), 1009),
    "row-33-fragments-above-64-kib": (frame(TEXT, b" " * 40_000) + frame(FIN | CONT, b" " * 25_537), 1009),
    "row-33-hundred-fragments-above-64-kib": (frame(TEXT, b" " * 660) + frame(CONT, b" " * 660) * 99, 1009),
    "row-34-129-fragments": (frame(TEXT, b"{") + frame(CONT, b" ") * 127 + frame(FIN | CONT, b"}"), 1009),
    "row-34-empty-fragments-without-end": (frame(TEXT) + frame(CONT) * 1000, 1009),
    "row-35-compressed": (frame(FIN | 0x40 | TEXT, b"\xaaV*\xc9,\xc8S\xb2RJ\xcbW\xaa\x05\x00"), 1002),
    "row-36-close-of-one-byte": (frame(FIN | CLOSE, b"\x03"), 1002),
    **{
        f"row-36-close-{code}": (close(code), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)
    },
    "row-36-close-with-a-bad-reason": (close(1000, b"\xff\xfe"), 1007),
    "row-40-text-of-no-character": (frame(FIN | TEXT, b'{"event":"mark","mark":{"name":"\xff"}}'), 1007),
    "row-40-short-text": (frame(FIN | TEXT, b"\xff"), 1007),
    "row-40-surrogate": (frame(FIN | TEXT, b'{"event":"\xed\xa0\x80"}'), 1007),
    "row-40-overlong": (frame(FIN | TEXT, b'{"event":"\xc0\xaf"}'), 1007),
    "row-40-cut-off": (frame(FIN | TEXT, b'{"event":"\xe2\x82'), 1007),
    "row-40-fragments": (frame(TEXT, b'{"event":"\xe2\x82') + frame(FIN | CONT, b'"}'), 1007),
}


@pytest.mark.usefixtures("neighbour")
@pytest.mark.parametrize("sent", ["at-once", "byte-by-byte"])
@pytest.mark.parametrize(("bad", "code"), BAD.values(), ids=BAD)
def test_what_came_before_a_bad_frame_is_recorded(server: Server, call: str, bad: bytes, code: int, sent: str) -> None:
    after = b"" if len(bad) == 2 else media(11, 12)  # a header by itself is to be refused by itself
    stream = CONNECTED + start(call) + media(1, 10) + bad + after
    with server.dial() as peer:
        # What is large comes in small pieces at least: a hundred thousand system calls would show no more.
        peer.send(stream, pieces=0 if sent == "at-once" else 1 if len(stream) < 20_000 else 61)
        assert peer.closed()[0] == code
        assert peer.next() is None
    told = server.told(call)
    assert (told["end"]["reason"], told["end"]["stop_received"], told["end"]["close_code"]) == ("error", False, code)
    assert told["tracks"]["inbound"]["counters"]["placed"] == 10
    assert server.audio(call) == spoken(1, 10)


@pytest.mark.usefixtures("neighbour")
@pytest.mark.parametrize(("bad", "code"), BAD.values(), ids=BAD)
def test_a_bad_frame_first_of_all_is_answered_and_records_nothing(server: Server, bad: bytes, code: int) -> None:
    before = {path for path in server.root.iterdir() if not path.name.startswith("neighbour")}
    with server.dial() as peer:
        peer.send(bad)
        assert peer.closed()[0] == code
        assert peer.next() is None
    assert {path for path in server.root.iterdir() if not path.name.startswith("neighbour")} == before


@pytest.mark.usefixtures("neighbour")
def test_row_32_a_claim_allocates_nothing(server: Server) -> None:
    with server.dial() as peer:
        peer.send(CONNECTED)
        tracemalloc.start()
        try:
            peer.send(frame(FIN | TEXT, claimed=2**63) + b"x" * 100_000)
            assert peer.closed()[0] == 1009
            assert tracemalloc.get_traced_memory()[1] < 2**21
        finally:
            tracemalloc.stop()


@pytest.mark.usefixtures("neighbour")
@pytest.mark.parametrize("pieces", [0, 1], ids=["at-once", "byte-by-byte"])
def test_rows_33_and_34_as_much_as_is_allowed_is_read(server: Server, call: str, pieces: int) -> None:
    mark = b'{"event":"mark","mark":{"name":"a"}}'
    largest = mark[:-1] + b" " * (65_536 - len(mark)) + b"}"
    fragments = frame(TEXT, mark[:1]) + b"".join(frame(CONT, mark[n : n + 1]) for n in range(1, 30))
    fragments += frame(CONT) * (128 - 31) + frame(FIN | CONT, mark[30:])
    halves = frame(TEXT, largest[:30_000]) + frame(FIN | PING) + frame(FIN | CONT, largest[30_000:])
    with server.dial() as peer:
        peer.send(CONNECTED + start(call) + media(1, 5))
        peer.send(frame(FIN | TEXT, largest) + fragments + halves, pieces=pieces * 61)
        peer.send(media(6, 10) + STOP, pieces=pieces)
        assert peer.closed()[0] == 1000
    told = server.told(call)
    assert (told["end"]["reason"], [mark["name"] for mark in told["marks"]]) == ("stop", ["a"] * 3)
    assert server.audio(call) == spoken(1, 10)


@pytest.mark.usefixtures("neighbour")
@pytest.mark.parametrize("pieces", [0, 1], ids=["at-once", "byte-by-byte"])
def test_row_37_a_ping_is_answered_with_what_it_says_while_media_flows(server: Server, call: str, pieces: int) -> None:
    with server.dial() as peer:
        peer.send(CONNECTED + start(call), pieces=pieces)
        for chunk, said in enumerate((b"", b"hello", b"\xff" * 125), 1):
            peer.send(media(chunk)[:50], pieces=pieces)
            peer.send(media(chunk)[50:] + frame(FIN | PING, said) + media(chunk + 3), pieces=pieces)
            assert peer.pong() == said
        peer.send(STOP)
        assert peer.closed()[0] == 1000
    told = server.told(call)
    assert (told["end"]["reason"], told["tracks"]["inbound"]["gaps"]) == ("stop", [])
    assert server.audio(call) == spoken(1, 6)


@pytest.mark.usefixtures("neighbour")
def test_row_37_so_many_pings_at_once_are_answered(server: Server, call: str) -> None:
    pings = [frame(FIN | PING, b"%d" % number) for number in range(10)]
    with server.dial() as peer:
        peer.send(CONNECTED + start(call) + media(1, 5) + b"".join(pings) + media(6, 10) + STOP)
        assert peer.closed()[0] == 1000
    assert [payload for opcode, payload in peer.controls if opcode == PONG] == [b"%d" % number for number in range(10)]
    assert server.told(call)["end"]["reason"] == "stop"
    assert server.audio(call) == spoken(1, 10)


@pytest.mark.usefixtures("neighbour")
@pytest.mark.parametrize("kind", [PING, PONG], ids=["pings", "pongs"])
@pytest.mark.parametrize("pieces", [0, 1], ids=["at-once", "byte-by-byte"])
def test_row_37_a_flood_of_them_ends_the_stream(server: Server, call: str, kind: int, pieces: int) -> None:
    with server.dial() as peer:
        peer.send(CONNECTED + start(call) + media(1, 10), pieces=pieces)
        peer.send(frame(FIN | kind, b"x") * 200 + media(11), pieces=pieces)
        assert peer.closed()[0] == 1008
    told = server.told(call)
    assert (told["end"]["reason"], told["end"]["close_code"]) == ("error", 1008)
    assert server.audio(call) == spoken(1, 10)


@pytest.mark.parametrize("rate", [0.5, 1, 3], ids=str)
def test_row_37_the_bound_is_the_configured_one(tmp_path: Path, call: str, rate: float) -> None:
    with serving(tmp_path, limits={"pings_per_s": rate}) as strict, strict.dial() as peer:
        peer.send(CONNECTED + start(call) + media(1) + frame(FIN | PING) * 40)
        assert peer.closed()[0] == 1008
        assert strict.told(call)["end"]["close_code"] == 1008
        assert strict.audio(call) == spoken(1, 1)


@pytest.mark.usefixtures("neighbour")
def test_row_38_pongs_that_nobody_asked_for_are_ignored(server: Server, call: str) -> None:
    with server.dial() as peer:
        peer.send(CONNECTED + start(call) + media(1, 5) + frame(FIN | PONG, b"x") * 5 + media(6, 10) + STOP)
        assert peer.closed()[0] == 1000
    assert not peer.controls
    assert server.told(call)["ignored"] == {}
    assert server.audio(call) == spoken(1, 10)


PARTIAL = {
    "a-byte": frame(FIN | TEXT, b"x" * 1000)[:1],
    "a-header": frame(FIN | TEXT, b"x" * 1000)[:8],
    "half-a-text": frame(FIN | TEXT, b"x" * 60_000)[:30_000],
    "half-a-fragment": frame(TEXT, b"{") + frame(CONT, b"x" * 1000)[:500],
    "half-a-ping": frame(FIN | PING, b"x" * 100)[:50],
    "a-message-without-end": frame(TEXT, b"{"),
}


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    tables = {"server": {"ping_interval_s": 0.5}, "limits": {"dead_after_s": 2, "close_timeout_s": 1}}
    with serving(tmp_path_factory.mktemp("impatient"), **tables) as started:
        yield started


@pytest.mark.parametrize("steady", ["by-pongs", "by-media", "not-at-all"])
def test_row_41_a_peer_that_stalls_within_a_frame_is_dead_after_its_time(impatient: Server, steady: str) -> None:
    with contextlib.ExitStack() as stack:
        # Between two frames a peer may be silent, as long as nobody knows it to be otherwise.
        names = [name for name in PARTIAL if steady != "not-at-all" or name != "a-message-without-end"]
        peers = {name: stack.enter_context(impatient.dial()) for name in names}
        for name, peer in peers.items():
            peer.send(CONNECTED + start(f"{name}-{steady}"))
            if steady != "by-media":
                peer.send((frame(FIN | PONG) if steady == "by-pongs" else b"") + media(1, 8))
            else:
                for chunk in range(1, 9):  # each in a read of its own, which its pong proves
                    peer.send(media(chunk) + frame(FIN | PING))
                    peer.pong()
        stalled = time.monotonic()
        for name, peer in peers.items():
            peer.send(PARTIAL[name])
        for name, peer in peers.items():
            assert peer.closed() == (1001, "no sign of life for 2 s"), name
        assert time.monotonic() - stalled >= 1.9
    for name in names:
        told = impatient.told(f"{name}-{steady}")
        assert (told["end"]["reason"], told["end"]["stop_received"]) == ("dead", False), name
        assert impatient.audio(f"{name}-{steady}") == spoken(1, 8), name


def test_row_41_a_peer_that_stalls_within_a_frame_and_goes_on_loses_nothing(impatient: Server, call: str) -> None:
    cuts = {
        1: media(5),
        3: media(5),
        9: media(5),
        100: media(5),
        2: frame(FIN | PING, b"?"),
        6: frame(FIN | PING, b"?"),
    }
    with contextlib.ExitStack() as stack:
        peers = {cut: stack.enter_context(impatient.dial()) for cut in cuts}
        for cut, peer in peers.items():
            peer.send(CONNECTED + start(f"{call}-{cut}") + media(1, 4) + cuts[cut][:cut])
        for peer in peers.values():
            got = peer.next()  # by then nobody looks at the socket any more, unless it wakes somebody up
            assert got is not None and got[0] == PING
        for cut, peer in peers.items():
            rest = media(5) if cuts[cut] != media(5) else b""
            peer.send(cuts[cut][cut:])
            peer.send(rest + media(6, 8) + STOP)
            assert peer.closed()[0] == 1000
    for cut in cuts:
        assert impatient.told(f"{call}-{cut}")["end"]["reason"] == "stop"
        assert impatient.audio(f"{call}-{cut}") == spoken(1, 8)


@pytest.mark.usefixtures("neighbour")
@pytest.mark.parametrize("pieces", [0, 1], ids=["at-once", "byte-by-byte"])
def test_row_42_what_follows_our_close_is_discarded(server: Server, call: str, pieces: int) -> None:
    with server.dial() as peer:
        peer.send(CONNECTED + start(call) + media(1, 10) + start(f"another-{call}"))
        assert peer.closed()[0] == 1008
        peer.send(media(11, 20) + STOP + frame(FIN | BINARY, b"x") + frame(0xFF, b"junk"), pieces=pieces)
        while (got := peer.next()) is not None:
            assert got[0] != CLOSE
    told = server.told(call)
    assert (told["end"]["reason"], told["end"]["close_code"]) == ("error", 1008)
    assert told["tracks"]["inbound"]["counters"]["received"] == 10
    assert server.audio(call) == spoken(1, 10)


def test_row_42_a_peer_that_never_closes_after_our_close_is_let_go(impatient: Server, call: str) -> None:
    with impatient.dial() as peer:
        peer.send(CONNECTED + start(call) + media(1, 5) + start(f"another-{call}"))
        assert peer.closed()[0] == 1008
        while peer.next() is not None:
            pass
    assert impatient.told(call)["end"]["close_code"] == 1008
    assert impatient.audio(call) == spoken(1, 5)


def test_row_42_a_peer_that_reads_nothing_is_let_go_all_the_same(tmp_path: Path, call: str) -> None:
    limits = {"pings_per_s": 1e9, "dead_after_s": 0, "close_timeout_s": 0.5}  # nothing else that would end it
    with run_receiver(tmp_path, limits=limits, server={"latency_ms": 5}, recordings={"path": "{call_id}"}) as started:
        host, _, port = started.address.rpartition(":")
        with Server((host, int(port)), started.directory, started.token).dial(buffer=8192) as peer:
            peer.send(CONNECTED + start(call) + media(1, 5) + frame(FIN | PING, b"x" * 125) * 50_000)
            peer.send(start(f"another-{call}"))
            until(lambda: (started.directory / call / "stream.json").exists())
            until(lambda: len(started.receiver.registry) == 0)


@pytest.mark.usefixtures("neighbour")
@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_a_close_frame_is_echoed_and_what_came_before_it_recorded(server: Server, call: str, code: int) -> None:
    with server.dial() as peer:
        peer.send(CONNECTED + start(call) + media(1, 10) + close(code, b"bye") + media(11))
        assert peer.closed() == (code, "bye")
        assert peer.next() is None
    told = server.told(call)
    assert (told["end"]["reason"], told["end"]["stop_received"]) == ("close", False)
    assert server.audio(call) == spoken(1, 10)


def test_row_81_a_peer_that_is_silent_for_long_and_answers_pings_is_kept(impatient: Server, call: str) -> None:
    with impatient.dial() as peer:
        peer.send(CONNECTED + start(call) + media(1, 5))
        for _ in range(5):  # 2.5 s, where it would be dead after 2 s
            got = peer.next()
            assert got is not None and got[0] == PING
            peer.send(frame(FIN | PONG, got[1]))
        peer.send(media(6, 10) + STOP)
        assert peer.closed()[0] == 1000
    assert impatient.told(call)["end"]["reason"] == "stop"
    assert impatient.audio(call) == spoken(1, 10)


def test_row_81_a_peer_that_never_answers_pings_and_was_silent_from_the_start_is_kept(
    impatient: Server, call: str
) -> None:
    with impatient.dial() as peer:
        peer.send(CONNECTED + start(call) + media(1, 5))
        for _ in range(5):
            got = peer.next()
            assert got is not None and got[0] == PING
        peer.send(media(6, 10) + STOP)
        assert peer.closed()[0] == 1000
    assert impatient.told(call)["end"]["reason"] == "stop"
    assert impatient.audio(call) == spoken(1, 10)
