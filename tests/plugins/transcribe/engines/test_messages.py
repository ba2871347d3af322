"""Messages between an engine and its workers: what is packed is read back, and nothing else is."""

from __future__ import annotations

import msgspec
import pytest
from receiver_plugins.transcribe.engine import Heard, Word
from receiver_plugins.transcribe.engines.messages import (
    HEAD_BYTES,
    MAX_BYTES,
    Answer,
    Drop,
    Feed,
    Finish,
    Loaded,
    Reply,
    Request,
    Unusable,
    pack,
    read_reply,
    read_request,
    unpack_size,
)


@pytest.mark.parametrize("request_", [Feed(b"\0\1"), Finish(), Drop()])
def test_a_request_is_read_back(request_: Request) -> None:
    packed = pack(request_)
    assert unpack_size(packed[:HEAD_BYTES]) == len(packed) - HEAD_BYTES
    assert read_request(packed[HEAD_BYTES:]) == request_


@pytest.mark.parametrize(
    "reply",
    [
        Loaded(),
        Unusable("model", "why"),
        Answer(),
        Answer((Heard("a b", True, 0, 9, (Word("a", 0, 3, None), Word("b", 4, 9, 0.5))), Heard("c", False, 9, 12))),
    ],
)
def test_a_reply_is_read_back(reply: Reply) -> None:
    assert read_reply(pack(reply)[HEAD_BYTES:]) == reply


def test_a_length_that_nobody_sends_is_refused() -> None:
    assert unpack_size(MAX_BYTES.to_bytes(HEAD_BYTES)) == MAX_BYTES
    with pytest.raises(ValueError, match="a message of 4194305 bytes"):
        unpack_size((MAX_BYTES + 1).to_bytes(HEAD_BYTES))


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(msgspec.MsgspecError):
        read_reply(b"gibberish")
    with pytest.raises(msgspec.MsgspecError):
        read_request(pack(Loaded())[HEAD_BYTES:])
