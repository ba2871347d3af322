"""A platform's side of one stream, as light as it can be: a socket, frames made beforehand, and when each was sent.

    python torture/caller.py HOST PORT NUMBER SENT NAME

talks as stream NUMBER of NAME until it is killed; the file SENT has how many messages of each track have been sent. The
token is in the environment (RECEIVER_TOKEN).
"""

from __future__ import annotations

import base64
import mmap
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from talking import TRACKS, close, text
from voice import PERIOD_S, WIRES, Voice

TCP_REPAIR = 19
SIOCOUTQ = 0x5411
PATIENCE_S = 20.0
COUNT = struct.Struct("=q")

Connect = Callable[[tuple[str, int]], socket.socket]


class Caller:
    """One stream of two tracks. ``sent`` has when ``send`` came back, of each message, by track (CLOCK_MONOTONIC)."""

    def __init__(self, number: int, voices: Sequence[Voice], wire: str, *, name: str = "torture") -> None:
        self.number = number
        self.stream_id = f"{name}-{number}"
        self.voices = voices
        self.sent: list[list[float]] = [[] for _ in voices]
        self.socket: socket.socket | None = None
        self.cut = False
        """Whether the other side is gone."""
        self.over = False
        """Whether this side has said its last word."""
        self._name = name
        self._wire = wire

    def dial(self, address: tuple[str, int], token: str, *, start: bool = True, by: Connect | None = None) -> None:
        """Connect and upgrade, and say what comes before the audio. Raises ConnectionError."""
        self.socket = (by or connect)(address)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /stream HTTP/1.1\r\nHost: {address[0]}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            some = self.socket.recv(4096)
            if not some:
                raise ConnectionResetError(f"no answer to the handshake: {answer!r}")
            answer += some
        if b" 101 " not in answer.partition(b"\r\n")[0]:
            raise ConnectionRefusedError(answer.partition(b"\r\n")[0].decode())
        self._send(text({"event": "connected", "protocol": "Call", "version": "0.2.0"}))
        if start:
            self.start()

    def start(self) -> None:
        """The start message."""
        start = {
            "streamSid": self.stream_id,
            "callSid": f"call-{self.stream_id}",
            "accountSid": "account",
            "tracks": list(TRACKS),
            "mediaFormat": {"encoding": self._wire, "sampleRate": 8000, "channels": 1},
            "customParameters": {"name": self._name, "number": str(self.number)},
        }
        self._send(text({"event": "start", "sequenceNumber": "1", "start": start}))

    @property
    def said(self) -> int:
        """Messages of each track."""
        return len(self.sent[-1])

    def say(self) -> None:
        """The next message of every track. Where the other side is gone, that is noted."""
        number = len(self.sent[0])
        for voice, sent in zip(self.voices, self.sent, strict=True):
            if self._send(voice.frames[number]):
                sent.append(time.monotonic())

    def stop(self) -> None:
        """The stop message."""
        self.over = True
        self._send(text({"event": "stop"}))

    def close_frame(self) -> None:
        """A close frame."""
        self.over = True
        self._send(close(1000))

    def finish(self) -> None:
        """A FIN; we go on listening."""
        self.over = True
        if self.socket is not None:
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """A RST."""
        self.over = True
        if self.socket is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.hang_up()

    def vanish(self) -> None:
        """Be gone without a word, as when a machine loses its power and starts again. Needs root."""
        self.over = True
        if self.socket is not None:
            self.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        self.hang_up()

    def hang_up(self) -> None:
        """Close the socket."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def closed_by_peer(self) -> bool:
        """Read what has come; whether the other side has closed."""
        if self.socket is None:
            return True
        self.socket.setblocking(False)
        try:
            while self.socket.recv(65536):
                pass
        except BlockingIOError:
            return False
        except OSError:
            pass
        finally:
            self.socket.settimeout(PATIENCE_S)
        return True

    def unacknowledged(self) -> int:
        """Bytes that the other side's kernel may not have yet."""
        import fcntl

        if self.socket is None:
            return 0
        return int(struct.unpack("i", fcntl.ioctl(self.socket, SIOCOUTQ, bytes(4)))[0])

    def _send(self, data: bytes) -> bool:
        if self.socket is None or self.cut:
            return False
        try:
            self.socket.sendall(data)
        except OSError:
            self.cut = True
            return False
        return True


def cast(count: int, seconds: float) -> list[list[Voice]]:
    """The voices of so many streams, every other one in L16, the rest in PCMU; ``callers`` speak with them."""
    return [[Voice(number, track, WIRES[number % 2], seconds) for track in TRACKS] for number in range(count)]


def callers(voices: Sequence[Sequence[Voice]], name: str) -> list[Caller]:
    """Who speaks with these voices, from the beginning."""
    return [Caller(number, pair, WIRES[number % 2], name=name) for number, pair in enumerate(voices)]


def connect(address: tuple[str, int]) -> socket.socket:
    """An ordinary connection."""
    opened = socket.create_connection(address, PATIENCE_S)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def main() -> None:
    host, port, number, sent, name = sys.argv[1:]
    voices = [Voice(int(number), track, WIRES[int(number) % 2], 30.0) for track in TRACKS]
    caller = Caller(int(number), voices, WIRES[int(number) % 2], name=name)
    with Path(sent).open("r+b") as file:
        counted = mmap.mmap(file.fileno(), COUNT.size * len(TRACKS))
    caller.dial((host, int(port)), os.environ["RECEIVER_TOKEN"])
    began = time.monotonic()
    while caller.said < voices[0].messages and not caller.cut:
        time.sleep(max(0.0, began + caller.said * PERIOD_S - time.monotonic()))
        for place, voice in enumerate(voices):
            caller._send(voice.frames[len(caller.sent[place])])
            caller.sent[place].append(time.monotonic())
            COUNT.pack_into(counted, place * COUNT.size, len(caller.sent[place]))


if __name__ == "__main__":
    main()
