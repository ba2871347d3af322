"""What goes between an engine and its worker processes.

A message is its length in four bytes, the highest first, and that much msgpack. Every request is answered by one reply,
in order; before the first of them the worker says that it is loaded, or why it cannot be.
"""

from __future__ import annotations

import msgspec

from ..engine import Heard

HEAD_BYTES = 4
MAX_BYTES = 4 * 2**20
"""Of one message. Far more than any: the longest piece of audio that is fed at once has a third of a megabyte."""


class Feed(msgspec.Struct, frozen=True, tag=True):
    """More of the utterance, int16 as this machine has them. The first one begins it."""

    samples: bytes


class Finish(msgspec.Struct, frozen=True, tag=True):
    """The utterance is over, and what was heard is wanted."""


class Drop(msgspec.Struct, frozen=True, tag=True):
    """The utterance, if there is one, is of no interest any more."""


Request = Feed | Finish | Drop


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """The worker is ready."""


class Unusable(msgspec.Struct, frozen=True, tag=True):
    """The worker cannot load: which option is the reason, and why. It ends."""

    option: str
    problem: str


class Answer(msgspec.Struct, frozen=True, tag=True):
    """What was heard. Positions count from the utterance's beginning."""

    heard: tuple[Heard, ...] = ()


Reply = Loaded | Unusable | Answer

_encoder = msgspec.msgpack.Encoder()
read_request = msgspec.msgpack.Decoder(Request).decode
read_reply = msgspec.msgpack.Decoder(Reply).decode


def pack(message: Request | Reply) -> bytes:
    """A message as it is sent, its length in front."""
    content = _encoder.encode(message)
    return len(content).to_bytes(HEAD_BYTES) + content


def unpack_size(head: bytes) -> int:
    """The length that the first four bytes say. Raises ValueError for one that nobody of ours sends."""
    size = int.from_bytes(head)
    if size > MAX_BYTES:
        raise ValueError(f"a message of {size} bytes")
    return size
