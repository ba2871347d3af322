"""An ending: whether something is over, and who wants to hear of it."""

from __future__ import annotations

from collections.abc import Callable


class Ending:
    """Said and asked on any thread. A Future says more, and takes 1.5 KiB for each sink of each stream."""

    __slots__ = ("_wanted", "over")

    def __init__(self) -> None:
        self.over = False
        self._wanted: list[Callable[[], object]] = []

    def tell(self, function: Callable[[], object]) -> None:
        """Have a function called when it is over, on any thread; at once where it is. It may be called twice."""
        self._wanted.append(function)
        if self.over:
            function()

    def set(self) -> None:
        """It is over."""
        self.over = True
        for function in self._wanted:
            function()
        self._wanted.clear()  # who comes later sees that it is over
