"""Audio files as a call: every message a platform would send of it, and when each is due."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from receiver.audio import Encoding
from receiver.events import Samples
from receiver.simulate.encoding import OPUS_PACKETS_MS, RATES, WIRE_NAMES, ByteOrder, Encode, encoder
from receiver.simulate.side import CallError, Side
from receiver.simulate.signalwire import SignalWire
from receiver.simulate.speaker import Opening, Speaker
from receiver.simulate.twilio import Twilio

DIALECTS: Mapping[str, Callable[[], Speaker]] = {"signalwire": SignalWire, "twilio": Twilio}
DIGIT_MS = 250  # how long a key is said to be held
DIGIT_SPACING_S = 0.5  # between digits that name no time


class Key(msgspec.Struct, frozen=True):
    """A key that the caller presses ``at_s`` seconds into the call."""

    digit: str
    at_s: float


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said. At least one of ``inbound``, ``outbound``, ``stereo``."""

    inbound: Path | None = None
    outbound: Path | None = None
    stereo: Path | None = None  # both sides in one file: left inbound, right outbound
    encoding: Encoding = Encoding.PCMU
    rate: int | None = None  # hertz; None: the encoding's usual one
    dialect: str = "signalwire"
    parameters: Mapping[str, Any] = {}  # custom parameters
    keys: tuple[Key, ...] = ()
    packet_ms: int = 20
    byte_order: ByteOrder = "little"  # of L16
    stop: bool = True  # False: no stop message, as happens on real calls
    stream_id: str | None = None  # these three: None has the dialect make one up
    call_id: str | None = None
    account_id: str | None = None


def sides(call: Call) -> dict[str, Side]:
    """The call's tracks, in the order in which they are sent. Raises CallError for files that cannot be used."""
    if call.stereo is not None:
        if call.inbound is not None or call.outbound is not None:
            raise CallError("a stereo file is both sides: give it alone, or inbound and outbound")
        return {"inbound": Side(call.stereo, 0), "outbound": Side(call.stereo, 1)}
    files = {"inbound": call.inbound, "outbound": call.outbound}
    found = {track: Side(path) for track, path in files.items() if path is not None}
    if not found:
        raise CallError("a call needs an audio file: inbound, outbound or stereo")
    return found


def messages(call: Call) -> Iterator[tuple[float, str]]:
    """Every message of a call with its due time: seconds after the connection opened, at normal speed.

    No clock, and no I/O but reading the files. Packet i of either track is due at i packets' time, so that lateness
    never adds up. A track whose file is shorter ends earlier.

    Raises CallError at once for what cannot be sent.
    """
    rate, size = _rate_and_size(call)
    if call.dialect not in DIALECTS:
        raise CallError(f"dialect {call.dialect}: known are {', '.join(DIALECTS)}")
    tracks = sides(call)
    pad = call.encoding is Encoding.OPUS  # an OPUS packet has one of a few lengths; the others just end
    packets = {track: side.packets(rate, size, pad=pad) for track, side in tracks.items()}
    encoders = {track: encoder(call.encoding, rate, call.byte_order) for track in tracks}
    opening = Opening(
        tuple(tracks), WIRE_NAMES[call.encoding], rate, call.parameters, call.stream_id, call.call_id, call.account_id
    )
    return _said(call, opening, DIALECTS[call.dialect](), packets, encoders)


def _said(
    call: Call,
    opening: Opening,
    speaker: Speaker,
    packets: dict[str, Iterator[Samples]],
    encoders: dict[str, Encode],
) -> Iterator[tuple[float, str]]:
    yield 0.0, speaker.connected()
    yield 0.0, speaker.start(opening)
    keys = sorted(call.keys, key=lambda key: key.at_s)
    ms = 0
    end_s = 0.0
    while packets:
        while keys and keys[0].at_s * 1000 <= ms:
            yield ms / 1000, speaker.dtmf(keys.pop(0).digit, DIGIT_MS)
        for track in tuple(packets):
            samples = next(packets[track], None)
            if samples is None:
                del packets[track]
                continue
            yield ms / 1000, speaker.media(track, ms, encoders[track](samples))
            end_s = max(end_s, ms / 1000 + len(samples) / opening.rate)
        ms += call.packet_ms
    for key in keys:
        end_s = max(end_s, key.at_s)
        yield end_s, speaker.dtmf(key.digit, DIGIT_MS)
    if call.stop:
        yield end_s, speaker.stop()


def _rate_and_size(call: Call) -> tuple[int, int]:
    rates = RATES[call.encoding]
    rate = rates[0] if call.rate is None else call.rate
    if rate not in rates:
        raise CallError(f"{call.encoding} has no rate {rate}: {', '.join(map(str, sorted(rates)))}")
    if call.encoding is Encoding.OPUS and call.packet_ms not in OPUS_PACKETS_MS:
        raise CallError(f"OPUS has no packets of {call.packet_ms} ms: {', '.join(map(str, OPUS_PACKETS_MS))}")
    if not 1 <= call.packet_ms <= 1000:
        raise CallError(f"packets of {call.packet_ms} ms: 1 to 1000")
    return rate, rate * call.packet_ms // 1000


def parse_keys(text: str) -> tuple[Key, ...]:
    """Keys as written on a command line: ``5@2.5,#`` presses 5 at 2.5 s and # half a second later, the first at 1 s.

    Raises CallError for what is no key and no time.
    """
    keys: list[Key] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([0-9*#A-Da-d]+)(?:@([0-9]+(?:\.[0-9]*)?))?", part, re.ASCII)
        if match is None:
            raise CallError(f"digits {part!r}: one or more of 0-9 * # A-D, then @seconds where wanted")
        at_s = float(match[2]) if match[2] else (keys[-1].at_s + DIGIT_SPACING_S if keys else 1.0)
        keys += [Key(digit.upper(), at_s + i * DIGIT_SPACING_S) for i, digit in enumerate(match[1])]
    return tuple(keys)


def duration_s(tracks: Iterable[Side]) -> float:
    """How long a call of these sides lasts, by the files' headers."""
    return max(side.duration_s for side in tracks)
