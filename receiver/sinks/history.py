"""The history: what a stream's events were, from its beginning, for a sink that could not keep up or begins anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from receiver.events import Event


class History(Protocol):
    """What was kept of one stream, read once from its beginning. Used by one thread at a time, but not always the same.

    Per track its tiling is that of the live events; only where one frame ends and the next begins may be elsewhere. It
    may lag behind them by what is still being written.
    """

    def read(self) -> Sequence[Event] | None:
        """The stream's next events: a second or two of audio at most. May block for a disk.

        Empty: nothing more has been kept yet. None: nothing more will ever come, since it is the end, or since the
        keeping failed. Digits may be masked, so here nothing counts but frames and gaps.
        """

    def close(self) -> None:
        """Let go of it. Called once, never while ``read`` runs."""


OpenHistory = Callable[[], History]
"""Opens a history. Called in a thread, when a sink first needs it; may block, and may raise."""
