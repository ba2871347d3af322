"""A worker process, seen from inside: loads a model once, and decodes one utterance after the other.

It is a process, so that decoding takes neither the event loop nor the interpreter from who receives audio, and so that
a crash of foreign code ends nothing else. Requests come over standard input, replies go over standard output; it ends
when its input does, however that came about.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import BinaryIO, Protocol

from ..engine import Heard
from .messages import HEAD_BYTES, Answer, Drop, Feed, Finish, Loaded, Reply, Unusable, pack, read_request, unpack_size

NICE = 5
"""How much lower its priority is: receiving goes first."""


class CannotLoad(Exception):
    """There is no decoder with these settings: the option that is the reason, and why."""

    def __init__(self, option: str, problem: str) -> None:
        super().__init__(option, problem)
        self.option = option
        self.problem = problem


class Decoder(Protocol):
    """What a worker does, one utterance at a time. Positions count from the utterance's beginning."""

    def feed(self, samples: bytes) -> Sequence[Heard]:
        """More of the utterance; the first samples begin it. What is new: at most one partial."""
        ...

    def finish(self) -> Sequence[Heard]:
        """The utterance is over: its finals."""
        ...

    def drop(self) -> None:
        """Forget the utterance, if there is one."""
        ...


def work(load: Callable[[], Decoder]) -> None:
    """Be a worker process, until standard input ends. ``load`` may raise CannotLoad."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the receiver's, which may go on for minutes after it
    os.nice(NICE)
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what foreign code prints is no reply,
    os.close(0)  # and what it might start is no listener
    os.open(os.devnull, os.O_RDONLY)
    try:
        decoder = load()
    except CannotLoad as error:
        _send(replies, Unusable(error.option, error.problem))
        return
    try:
        _send(replies, Loaded())
        while head := requests.read(HEAD_BYTES):
            request = read_request(requests.read(unpack_size(head)))
            match request:
                case Feed(samples=samples):
                    heard = decoder.feed(samples)
                case Finish():
                    heard = decoder.finish()
                case Drop():
                    decoder.drop()
                    heard = ()
            _send(replies, Answer(tuple(heard)))
    except BrokenPipeError:  # nobody is there any more to answer to
        return


def _send(replies: BinaryIO, reply: Reply) -> None:
    left = memoryview(pack(reply))
    while left:
        left = left[replies.write(left) :]
