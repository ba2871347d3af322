"""FrameReader makes of a byte stream, however it is cut, what the parser of websockets makes of all of it at once.

The judge is a plain loop over the parser: every byte given to it in one piece, its frames gone through one by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from receiver.asgi.frames import HEADER_BYTES, Data, FrameReader

BEYOND = b"\x81\x80junk that lies behind what was read"


@dataclass(frozen=True)
class Bounds:
    """What a connection may do."""

    message_bytes: int | None = 65_536
    fragments: int = 128
    controls: int | None = None
    asked: int = 0
    """Pings of ours that are not answered yet."""


@dataclass
class Outcome:
    """What a byte stream came to."""

    messages: list[Data] = field(default_factory=list)
    sent: bytes = b""
    received_close: Close | None = None
    sent_close: Close | None = None
    over: bool = False


def judged(stream: bytes, bounds: Bounds) -> Outcome:
    """The outcome by the parser of websockets alone."""
    connection = ServerProtocol(state=OPEN, max_size=bounds.message_bytes)
    connection.receive_data(stream)
    outcome = Outcome()
    parts: list[bytes] = []
    text, controls, asked, wrong = False, 0, bounds.asked, None
    for frame in connection.events_received():
        if not isinstance(frame, Frame):
            raise TypeError(frame)
        if frame.opcode is Opcode.PING:
            outcome.sent += Frame(Opcode.PONG, frame.data).serialize(mask=False)
        if frame.opcode is Opcode.PONG and asked:
            asked -= 1
        elif frame.opcode in (Opcode.PING, Opcode.PONG):
            controls += 1
            if bounds.controls is not None and controls > bounds.controls:
                wrong = Close(1008, "too many pings")
        elif frame.opcode is not Opcode.CLOSE:
            text = frame.opcode is Opcode.TEXT if not parts else text
            parts.append(bytes(frame.data))
            if len(parts) > bounds.fragments:
                wrong = Close(1009, f"message in more than {bounds.fragments} fragments")
            elif frame.fin:
                data, parts = b"".join(parts), []
                try:
                    outcome.messages.append(data.decode() if text else data)
                except UnicodeDecodeError:
                    wrong = Close(1007, "text that is not UTF-8")
        if wrong is not None:  # what the parser has done since then does not count
            outcome.sent += Frame(Opcode.CLOSE, wrong.serialize()).serialize(mask=False)
            outcome.sent_close, outcome.over = wrong, True
            return outcome
    outcome.sent = b"".join(connection.data_to_send())
    outcome.received_close, outcome.sent_close = connection.close_rcvd, connection.close_sent
    outcome.over = connection.eof_sent
    return outcome


def read(stream: bytes, cuts: Iterable[int], bounds: Bounds) -> Outcome:
    """The outcome by FrameReader, which is given the stream in pieces that end at ``cuts`` and at its end.

    Raises AssertionError where it keeps more of a frame than there may be, or goes on after the end.
    """
    connection = ServerProtocol(state=OPEN, max_size=bounds.message_bytes)
    reader = FrameReader(connection, fragments=bounds.fragments)
    reader.allow(bounds.controls)
    reader.asked = bounds.asked
    outcome = Outcome()
    begin = 0
    for number, end in enumerate((*sorted(cuts), len(stream))):
        piece = reader.held + stream[begin:end]
        # As a protocol's data_received has it, and as it lies in a buffer that is used again and again.
        messages = reader.read(piece if number % 2 else bytearray(piece + BEYOND), len(piece))
        if outcome.over and messages:
            raise AssertionError("it reads on after the end")
        outcome.messages += messages
        outcome.sent += b"".join(connection.data_to_send())
        outcome.over = reader.over
        if reader.over and reader.held:
            raise AssertionError("it waits for more after the end")
        if bounds.message_bytes is not None:
            most = bounds.message_bytes + HEADER_BYTES - 1
            if max(len(reader.held), len(connection.reader.buffer)) > most:
                raise AssertionError("it keeps more than a frame")
        begin = end
    outcome.received_close, outcome.sent_close = connection.close_rcvd, connection.close_sent
    return outcome


def agree(stream: bytes, cuts: Iterable[int], bounds: Bounds) -> Outcome:
    """The outcome that both come to; raises AssertionError where they differ."""
    judgement, found = judged(stream, bounds), read(stream, cuts, bounds)
    if found != judgement:
        raise AssertionError(f"{found} where websockets says {judgement}")
    return found
