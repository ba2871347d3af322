"""Frames: what arrived on a WebSocket, read into messages; RFC 6455, section 5.

Nearly everything a platform sends is a whole, masked text frame. Those are unmasked where they lie. Everything else
(control frames, fragments, whatever is wrong) goes to the parser of ``websockets``, which stays the authority on the
protocol: what it would say of all that was sent is what is said here, however the network cut it up.
"""

from __future__ import annotations

from typing import cast

from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover - where websockets was installed without its extension
    from websockets.utils import apply_mask

Data = str | bytes

HEADER_BYTES = 14
"""Of a client's frame, at most."""

_TEXT, _BINARY = 0x80 | Opcode.TEXT, 0x80 | Opcode.BINARY  # the first byte of a frame that is a whole message
_MASKED = 0x80
_OPCODES = frozenset(Opcode)


class FrameReader:
    """Reads one connection, whose handshake is over.

    After every call send what ``connection.data_to_send`` has. Once ``over`` is true nothing more is read; then
    ``connection.close_rcvd`` is the peer's close frame, or ``connection.close_sent`` is ours and says what was wrong.
    """

    __slots__ = (
        "_connection",
        "_controls",
        "_fragments",
        "_limit",
        "_owed",
        "_parts",
        "_text",
        "asked",
        "held",
        "over",
        "ponged",
    )

    def __init__(self, connection: ServerProtocol, *, fragments: int = 128) -> None:
        """``fragments``: a message that comes in more frames is too big, whatever is in them."""
        self.held = b""
        """The beginning of a frame, shorter than the largest one may be: to be put before what arrives next."""
        self.over = False
        self.ponged = False
        """Whether the peer has sent a pong."""
        self.asked = 0
        """Pings of ours that were not answered yet; who sends one, counts it here."""
        self._connection = connection
        self._limit = connection.max_message_size
        self._fragments = fragments
        self._controls: int | None = None
        self._owed = 0  # bytes of a frame that the parser has the beginning of
        self._parts: list[bytes] | None = None  # of a message in fragments
        self._text = False

    @property
    def midway(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self.held or self._owed or self._parts)

    def allow(self, controls: int | None) -> None:
        """From here on take so many pings, and pongs that nobody asked for, and fail at the next (1008); None: any."""
        self._controls = controls

    def fail(self, code: int, reason: str) -> None:
        """Close with this code, and read nothing more."""
        self._connection.fail(code, reason)
        self.over = True

    def read(self, data: bytes | bytearray, size: int) -> list[Data]:
        """The messages that end within the first ``size`` bytes of ``data``, which begin with what was ``held``.

        Messages that came before something that is wrong are answered all the same.
        """
        messages: list[Data] = []
        self.held = b""
        position = self._feed(data, 0, size, self._owed, messages) if self._owed else 0
        while position < size and not self.over:
            if self._parts is None:
                position = self._read_whole_texts(data, position, size, messages)
                if position >= size:
                    break
            length = self._length(data, position, size)
            whole = self._parts is None and data[position] in (_TEXT, _BINARY)
            if length is None or (whole and length > size - position):
                self.held = bytes(data[position:size])
                break
            position = self._feed(data, position, size, length, messages)
        return messages

    def _read_whole_texts(self, data: bytes | bytearray, position: int, size: int, messages: list[Data]) -> int:
        """Read frames up to the first that is no text message as a whole, or not all there; where that begins."""
        limit = self._limit
        while size - position >= 8 and data[position] == _TEXT:
            length = data[position + 1]
            if length == _MASKED | 126:
                length = data[position + 2] << 8 | data[position + 3]
                start = position + 8
            elif _MASKED <= length < _MASKED | 126:
                length -= _MASKED
                start = position + 6
            else:
                break
            stop = start + length
            if stop > size or (limit is not None and length > limit):
                break
            try:
                messages.append(apply_mask(data[start:stop], data[start - 4 : start]).decode())
            except UnicodeDecodeError:
                self.fail(1007, "text that is not UTF-8")
                return size
            position = stop
        return position

    def _length(self, data: bytes | bytearray, position: int, size: int) -> int | None:
        """How long a frame is, header included; None: its header is not all there.

        All that is there, where the parser will refuse it by what there is.
        """
        there = size - position
        if there < 2:
            return None
        first, second = data[position], data[position + 1]
        if first & 0x0F not in _OPCODES or not second & _MASKED:
            return there
        payload, more = second & 0x7F, 0
        if payload > 125:
            more = 2 if payload == 126 else 8
            if there < 2 + more:
                return None
            payload = int.from_bytes(data[position + 2 : position + 2 + more])
        if self._limit is not None and payload > self._limit - (self._connection.current_size or 0):
            return there
        return 6 + more + payload

    def _feed(self, data: bytes | bytearray, position: int, size: int, length: int, messages: list[Data]) -> int:
        """Give the parser a frame of ``length`` bytes, or what is there of it; where that ends."""
        stop = min(position + length, size)
        self._owed = position + length - stop
        self._connection.receive_data(data[position:stop])
        for frame in cast("list[Frame]", self._connection.events_received()):  # one at most, as it was given no more
            self._take(frame, messages)
        if self._connection.eof_sent:  # the peer has closed, or something was wrong
            self.over = True
        return stop

    def _take(self, frame: Frame, messages: list[Data]) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._take_data(frame, messages)
            return
        if frame.opcode is Opcode.PONG:
            self.ponged = True
            if self.asked:
                self.asked -= 1
                return
        if self._controls is not None and frame.opcode is not Opcode.CLOSE:
            self._controls -= 1
            if self._controls < 0:
                self.fail(1008, "too many pings")

    def _take_data(self, frame: Frame, messages: list[Data]) -> None:
        if self._parts is None:
            self._parts = []
            self._text = frame.opcode is Opcode.TEXT
        self._parts.append(bytes(frame.data))
        if len(self._parts) > self._fragments:
            self.fail(1009, f"message in more than {self._fragments} fragments")
        elif frame.fin:
            data, self._parts = b"".join(self._parts), None
            try:
                messages.append(data.decode() if self._text else data)
            except UnicodeDecodeError:
                self.fail(1007, "text that is not UTF-8")
