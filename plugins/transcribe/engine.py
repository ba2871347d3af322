"""What turns speech into text: the interface that every engine has.

All audio is 16 kHz, mono, int16. All positions are samples since the beginning of the utterance they belong to, between
0 and what was fed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from receiver.errors import ReceiverError

RATE = 16000
"""Samples per second, of every engine."""

Int16Array = npt.NDArray[np.int16]


class Word(msgspec.Struct, frozen=True):
    """One word and where it was said."""

    text: str
    start: int
    end: int
    confidence: float | None  # between 0 and 1; None where the engine says nothing


class Heard(msgspec.Struct, frozen=True):
    """What was said between two positions. ``words`` are those of a final; a partial has none."""

    text: str
    final: bool  # False: what will be said of this span later counts instead
    start: int
    end: int
    words: tuple[Word, ...] = ()


class EngineFailed(ReceiverError):
    """The engine died, went away, or did not answer in time.

    Another recognition may be begun at once: it waits until the engine is back. It is to be fed again whatever was not
    final.
    """


class Recognition(Protocol):
    """One utterance of one speaker. One call at a time; after ``finish``, or after it has raised, none."""

    async def feed(self, samples: Int16Array) -> Sequence[Heard]:
        """Take samples of shape (n,) and tell what is new: any finals, then at most one partial, the newest.

        Waits while the engine is slower than the speaker. Raises EngineFailed.
        """
        ...

    async def finish(self) -> Sequence[Heard]:
        """The utterance is over: tell the rest, all of it final. Raises EngineFailed."""
        ...


class Engine(Protocol):
    """An engine that is open."""

    def recognize(self) -> AbstractAsyncContextManager[Recognition]:
        """Wait for a free place, in the order of asking, and begin an utterance.

        Leaving the context gives the place back, also half way through an utterance.
        """
        ...
