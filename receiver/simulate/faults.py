"""Faults as they are written on a command line: ``gap:5s+200ms``, ``reorder:5%``, ``cut:12s``, ``no-stop``.

    KIND[:WHERE]       WHERE = AT[+LENGTH] | SHARE%

Times are of the recorded stream: since its first message, at normal speed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from receiver.simulate.side import CallError


class Kind(StrEnum):
    """What goes wrong. ``docs/replay.md`` says what a receiver makes of each."""

    GAP = "gap"  # media is not sent, and the counters go on
    SILENCE = "silence"  # media is not sent, and neither counted
    REORDER = "reorder"  # a packet changes places with the next one of its track
    DUPLICATE = "duplicate"  # a packet is sent twice
    BAD_JSON = "bad-json"  # a packet's message is cut off in its middle
    BAD_BASE64 = "bad-base64"  # a packet's payload is none
    RESTART_CLOCK = "restart-clock"  # timestamps begin anew
    BURST = "burst"  # what is due in a span is sent at its end, at once
    STALL = "stall"  # nothing is sent for a while, and all that follows is later by that
    CUT = "cut"  # TCP's reset
    FIN = "fin"  # TCP's end, without a close frame
    CLOSE = "close"  # a close frame, without a stop message
    NO_STOP = "no-stop"  # the stop message is left out


_PACKETS = frozenset(
    {Kind.GAP, Kind.SILENCE, Kind.REORDER, Kind.DUPLICATE, Kind.BAD_JSON, Kind.BAD_BASE64}
)  # these hit packets, and may hit a share of them
_LONG = frozenset({*_PACKETS, Kind.BURST, Kind.STALL})
_DEFAULT_LENGTH_S = {Kind.BURST: 2.0, Kind.STALL: 5.0}

ENDINGS = frozenset({Kind.CUT, Kind.FIN, Kind.CLOSE})

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)", re.ASCII)
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)%", re.ASCII)


class Fault(msgspec.Struct, frozen=True):
    """One fault. With neither a place nor a share it happens once, somewhere; an ending, at the end."""

    kind: Kind
    at_s: float | None = None
    length_s: float | None = None  # None: of kinds that hit packets, the first one from ``at_s`` on
    share: float | None = None  # of all packets, 0 to 1

    @property
    def of_packets(self) -> bool:
        """Whether it hits packets, each by itself."""
        return self.kind in _PACKETS


def parse_fault(text: str) -> Fault:
    """Read a fault as it is written. Raises CallError, which says what is wrong with it."""
    name, found, where = text.partition(":")
    try:
        kind = Kind(name.strip())
    except ValueError:
        raise CallError(f"fault {text!r}: no such kind; there are {', '.join(Kind)}") from None
    where = where.strip()
    length_s = _DEFAULT_LENGTH_S.get(kind)
    if not where:
        if found:
            raise CallError(f"fault {text!r}: nothing behind the colon")
        return Fault(kind, length_s=length_s)
    if kind is Kind.NO_STOP:
        raise CallError(f"fault {text!r}: {kind} has no place")
    if where.endswith("%"):
        if kind not in _PACKETS:
            raise CallError(f"fault {text!r}: {kind} happens at a time, not to a share of the packets")
        return Fault(kind, share=_share(text, where))
    at, plus, length = where.partition("+")
    if plus:
        if kind not in _LONG:
            raise CallError(f"fault {text!r}: {kind} has no length")
        length_s = _seconds(text, length)
        if not length_s:
            raise CallError(f"fault {text!r}: has no length")
    return Fault(kind, at_s=_seconds(text, at), length_s=length_s)


def check_faults(faults: Sequence[Fault], duration_s: float, audio_s: float | None = None) -> None:
    """Raise CallError where faults exclude each other, or one would begin after the end.

    ``duration_s`` is how long the messages took; ``audio_s``, by the packets' timestamps, is what faults of packets go
    by: a capture that was made faster than real time has more audio than duration.
    """
    if sum(fault.kind in ENDINGS for fault in faults) > 1:
        raise CallError(f"faults: a stream ends once, so one of {', '.join(sorted(ENDINGS))}")
    for fault in faults:
        by_stamps = fault.of_packets or fault.kind is Kind.RESTART_CLOCK
        length_s = audio_s if by_stamps and audio_s is not None else duration_s
        if fault.at_s is not None and fault.at_s > length_s:
            raise CallError(f"fault {fault.kind}: begins at {fault.at_s:g} s, and the stream has {length_s:.1f} s")


def _share(text: str, where: str) -> float:
    match = _SHARE.fullmatch(where)
    share = float(match[1]) / 100 if match else 0.0
    if not 0 < share <= 1:
        raise CallError(f"fault {text!r}: a share is more than 0% and at most 100%")
    return share


def _seconds(text: str, duration: str) -> float:
    match = _DURATION.fullmatch(duration.strip())
    if match is None:
        raise CallError(f"fault {text!r}: {duration.strip()!r} is no time such as 200ms, 1.5s or 2m")
    return float(match[1]) * _UNITS_S[match[2]]
