"""What has become of a replay's streams so far, and at the end."""

from __future__ import annotations

import time
from collections import Counter

import msgspec

from receiver.simulate.connection import Outcome

MAX_PROBLEMS = 10  # different ones that are kept


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a replay."""

    streams: int  # calls that were made
    finished: int  # taken whole and ended as asked
    refused: dict[str, int]  # by HTTP status
    unreachable: int  # no answer to the handshake
    broken: int  # ended by the server or the network before their end
    stopped: int  # ended by us before their end, because we were told to
    messages: int  # sent
    megabytes: float  # sent: text characters and binary bytes
    received: int  # messages from the server
    withheld: int  # messages that the captures have no text of: of all calls
    seconds: float
    messages_per_s: float
    worst_late_s: float
    close_codes: dict[str, int]
    problems: list[str]  # the first few different ones

    @property
    def ok(self) -> bool:
        """Every stream that was begun was taken whole, as asked; being stopped is not counted against it."""
        return self.finished + self.stopped == self.streams


class Tally:
    """Counts calls. For one thread; ``summary`` may be asked for at any time."""

    def __init__(self) -> None:
        self._live: dict[int, Outcome] = {}
        self.finished = 0
        self.refused: Counter[str] = Counter()
        self.broken = 0
        self.stopped = 0
        self._unreachable = 0
        self._withheld = 0
        self._messages = self._characters = self._received = 0
        self._worst_late_s = 0.0
        self._close_codes: Counter[str] = Counter()
        self._problems: dict[str, None] = {}
        self._began: float | None = None
        self._ended: float | None = None

    def begin(self) -> None:
        """The first call is about to be made."""
        self._began = time.monotonic()

    def end(self) -> None:
        """The last one is over."""
        self._ended = time.monotonic()

    def up(self, outcome: Outcome) -> None:
        """A server took a call."""
        self._live[id(outcome)] = outcome

    def down(self, outcome: Outcome, *, withheld: int, stopped: bool = False) -> None:
        """A call is over, or was never taken."""
        self._live.pop(id(outcome), None)
        self._withheld += withheld
        self._messages += outcome.messages
        self._characters += outcome.characters
        self._received += outcome.received
        self._worst_late_s = max(self._worst_late_s, outcome.worst_late_s)
        if outcome.status == 101 and outcome.close_code is not None:
            self._close_codes[str(outcome.close_code)] += 1
        if outcome.ok:
            self.finished += 1
        elif stopped:
            self.stopped += 1
        elif outcome.status == 101:
            self.broken += 1
            reason = f" {outcome.close_reason}" if outcome.close_reason else ""
            self.problem(outcome.error or f"closed with {outcome.close_code}{reason}")
        elif outcome.status is not None:
            self.refused[str(outcome.status)] += 1
            self.problem(f"refused with HTTP {outcome.status} {outcome.body}".strip())
        else:
            self._unreachable += 1
            self.problem(outcome.error)

    def problem(self, text: str) -> None:
        """Note what went wrong, if it is new and not too much."""
        if len(self._problems) < MAX_PROBLEMS:
            self._problems[text] = None

    @property
    def live(self) -> int:
        """Streams that are up."""
        return len(self._live)

    @property
    def messages(self) -> int:
        """Sent so far."""
        return self._messages + sum(outcome.messages for outcome in self._live.values())

    @property
    def seconds(self) -> float:
        """Since the beginning, to the end if it is over."""
        if self._began is None:
            return 0.0
        return (time.monotonic() if self._ended is None else self._ended) - self._began

    def summary(self) -> Summary:
        """All of it."""
        seconds, messages = self.seconds, self.messages
        refused = self.refused.total() + self._unreachable
        return Summary(
            streams=self.finished + self.broken + self.stopped + refused + self.live,
            finished=self.finished,
            refused=dict(sorted(self.refused.items())),
            unreachable=self._unreachable,
            broken=self.broken,
            stopped=self.stopped,
            messages=messages,
            megabytes=round((self._characters + sum(outcome.characters for outcome in self._live.values())) / 1e6, 6),
            received=self._received,
            withheld=self._withheld,
            seconds=round(seconds, 6),
            messages_per_s=round(messages / seconds, 1) if seconds else 0.0,
            worst_late_s=round(self._worst_late_s, 6),
            close_codes=dict(sorted(self._close_codes.items())),
            problems=list(self._problems),
        )
