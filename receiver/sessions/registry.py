"""The registry: which streams are live, and whether another may come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from receiver.errors import AccessDenied
from receiver.events import EndReason

RETRY_AFTER_S = 5
"""What a refused peer is told to wait."""


class Live(Protocol):
    """A live stream, as far as the registry needs it."""

    def end(self, reason: EndReason) -> None:
        """End the stream from our side."""


class Registry:
    """Admission and drain. A connection counts from its admission, before any stream has started on it."""

    def __init__(self, limit: int, *, room: Callable[[str], str | None] = lambda source: None) -> None:
        """``room`` says, in one word, why there is no room for another stream of a source, or None."""
        self.limit = limit
        self.draining = False
        self._room = room
        self._live: set[Live] = set()
        self._peer_ids: dict[Live, str] = {}
        self._streams: Counter[str] = Counter()  # by the peer's id

    def __len__(self) -> int:
        return len(self._live)

    def admit(self, source: str) -> None:
        """Raise AccessDenied (503 with Retry-After) where no other stream of this source may come."""
        reason = "draining" if self.draining else "streams" if len(self._live) >= self.limit else self._room(source)
        if reason is not None:
            raise AccessDenied(503, reason, {"Retry-After": str(RETRY_AFTER_S)})

    def enter(self, live: Live) -> None:
        """A connection was admitted."""
        self._live.add(live)

    def leave(self, live: Live) -> None:
        """A connection is over, its files are final."""
        self._live.discard(live)
        stream_id = self._peer_ids.pop(live, None)
        if stream_id is not None:
            self._streams[stream_id] -= 1
            if not self._streams[stream_id]:
                del self._streams[stream_id]

    @property
    def live(self) -> tuple[Live, ...]:
        """All that are live now."""
        return tuple(self._live)

    def started(self, live: Live, stream_id: str) -> int:
        """A connection's stream started; the answer is how many live streams have this peer's id, itself included."""
        self._peer_ids[live] = stream_id
        self._streams[stream_id] += 1
        return self._streams[stream_id]

    def end_all(self, reason: EndReason) -> None:
        """End every live stream."""
        for live in tuple(self._live):
            live.end(reason)
