"""The budget: what all feeds together may hold."""

from __future__ import annotations


class Budget:
    """What all feeds together may hold. Used by the putting thread only.

    Counting every feed on every hand-over would be dear at thousands of streams, so what was put since the last count
    is added to it, and the feeds are counted again only when that sum passes the limit.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.added = 0
        self.over = False
        """While true, feeds grow no further."""
        self._counted = 0

    @property
    def due(self) -> bool:
        """Whether the feeds must be counted again."""
        return self.over or self._counted + self.added > self.limit_bytes

    def counted(self, total_bytes: int) -> None:
        """Take a new count of all feeds."""
        self._counted = total_bytes
        self.added = 0
        self.over = total_bytes > self.limit_bytes
