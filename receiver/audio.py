"""Audio formats: what a stream's encoding is called on the wire, and what that means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import NoReturn

import msgspec

from receiver.errors import ProtocolError


class Encoding(StrEnum):
    """How samples travel: RFC 3551 names."""

    PCMU = "PCMU"
    PCMA = "PCMA"
    L16 = "L16"
    OPUS = "OPUS"
    G722 = "G722"


class AudioFormat(msgspec.Struct, frozen=True):
    """What a stream's payloads hold."""

    encoding: Encoding
    rate: int  # hertz
    channels: int = 1


RATES: Mapping[Encoding, tuple[int, ...]] = {
    Encoding.PCMU: (8000, 16000),
    Encoding.PCMA: (8000, 16000),
    Encoding.L16: (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    Encoding.OPUS: (8000, 12000, 16000, 24000, 48000),  # the rates a decoder can be asked for: RFC 6716, section 2.1.3
    Encoding.G722: (16000,),
}
"""Hertz that each encoding may have."""

CHANNELS = (1, 2)

# A telephone's 8000; the clock of OPUS always runs at 48000 (RFC 7587, section 4.1).
_DEFAULT_RATE = {
    Encoding.PCMU: 8000,
    Encoding.PCMA: 8000,
    Encoding.L16: 8000,
    Encoding.OPUS: 48000,
    Encoding.G722: 16000,
}
_G722_CLOCK = 8000  # by an old mistake, which is kept: RFC 3551, section 4.5.2. Its samples have 16000 all the same.

# Compared without case, "audio/", "x-" and the characters " . _ -". A bare "G711" is not here: it does not say which
# law, and the wrong one is static for a whole call. Nor are the names of big-endian samples (s16be): the byte order is
# a setting of the source, and whoever gives such a name an alias will look at that setting.
_NAMES = {
    Encoding.PCMU: "pcmu mulaw ulaw μlaw basic g711u g711mu g711ulaw g711mulaw g711μlaw pcmulaw pcmmulaw",
    Encoding.PCMA: "pcma alaw g711a g711alaw pcmalaw",
    Encoding.L16: "l16 linear linear16 lin16 pcm pcm16 pcm16le pcms16 pcms16le s16 s16le lpcm lpcm16 int16",
    Encoding.OPUS: "opus rawopus libopus",
    Encoding.G722: "g722 adpcmg722",  # not G.722.1 and G.722.2, which have nothing in common with it but the number
}
_ENCODINGS = {name: encoding for encoding, names in _NAMES.items() for name in names.split()}

_PREFIX = re.compile(r"^(audio/)?(x-)?")
_IGNORED = re.compile(r"[ ._-]")
_MODIFIER = re.compile(r"([0-9]{1,9})([a-z])")
_NUMBER = re.compile(r"[0-9]{1,9}")
_REASON_BYTES = 120  # a close reason may have 123 bytes: RFC 6455, section 5.5


def parse_format(
    encoding: str, rate: int | None, channels: int | None, *, aliases: Mapping[str, str] = {}
) -> tuple[AudioFormat, int]:
    """Read what a start message says of its audio. Returns the format, and how many of its parts had to be assumed.

    ``encoding`` may be a MIME type with parameters (``audio/L16;rate=16000;channels=1``), an RTP name with clock
    (``L16/16000/1``), or a FreeSWITCH codec string: ``PCMU@8000h@40i@1c``, of which ptime (i) and bit rate (b) are not
    needed. ``aliases`` is the operator's table from any such string to any other; it is asked first, without case.

    Raises ProtocolError 4415 with a reason that names what is not supported.
    """
    # The fields win over the string: they are what the vendors document, the string is what a user once asked for.
    name, said_rate, said_channels = _redirected(encoding, aliases)
    rate = said_rate if rate is None else rate
    channels = said_channels if channels is None else channels
    known = _ENCODINGS.get(_plain(name))
    if known is None:
        _refuse(f"encoding {_shown(encoding)} is not supported")
    assumed = (rate is None) + (channels is None)
    rate = _DEFAULT_RATE[known] if rate is None else rate
    channels = 1 if channels is None else channels
    if known is Encoding.G722 and rate == _G722_CLOCK:
        rate = _DEFAULT_RATE[known]
    if rate not in RATES[known]:
        _refuse(f"rate {_digits(rate)} of {known} is not supported")
    if channels not in (CHANNELS if known is not Encoding.G722 else CHANNELS[:1]):
        _refuse(f"{_digits(channels)} channels of {known} are not supported")
    return AudioFormat(known, rate, channels), assumed


def _redirected(encoding: str, aliases: Mapping[str, str]) -> tuple[str, int | None, int | None]:
    """Read the string, through the operator's table if its whole or its name is there. A target is final."""
    table = {alias.strip().casefold(): target for alias, target in aliases.items()}
    whole = table.get(encoding.strip().casefold())
    if whole is not None:
        return _read(whole)
    name, rate, channels = _read(encoding)
    target = table.get(name.casefold())
    if target is None:
        return name, rate, channels
    name, target_rate, target_channels = _read(target)
    return name, target_rate if rate is None else rate, target_channels if channels is None else channels


def _read(encoding: str) -> tuple[str, int | None, int | None]:
    """Split a string into its name, and its rate and channels if it says them."""
    text = encoding.strip()
    rate: int | None = None
    channels: int | None = None
    text, *parameters = text.split(";")
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        match key.strip().casefold():
            case "rate":
                rate = _number(value.strip().strip('"'), encoding)
            case "channels":
                channels = _number(value.strip().strip('"'), encoding)
    text, *modifiers = text.split("~")[0].split("@")  # after ~ a codec's own parameters follow
    for modifier in modifiers:
        match = _MODIFIER.fullmatch(modifier.strip().lower())
        if match is None:
            _refuse(f"encoding {_shown(encoding)} cannot be read")
        number = int(match[1])
        match match[2]:
            case "h":
                rate = number
            case "k":  # FreeSWITCH reads it as hertz, people as kilohertz
                rate = number * 1000 if number < 1000 else number
            case "c":
                channels = number
    start = len("audio/") if text.lower().startswith("audio/") else 0
    name, *clock = text[start:].split("/")
    if clock:
        rate = _number(clock[0].strip(), encoding) if rate is None else rate
        channels = _number(clock[1].strip(), encoding) if channels is None and len(clock) > 1 else channels
    return (text[:start] + name).strip(), rate, channels


def _number(text: str, encoding: str) -> int:
    """Read a number; one that cannot be read is refused: a guessed rate would be a recording at the wrong speed."""
    if not _NUMBER.fullmatch(text):
        _refuse(f"encoding {_shown(encoding)} cannot be read")
    return int(text)


def _plain(name: str) -> str:
    return _IGNORED.sub("", _PREFIX.sub("", name.strip().casefold()))


def _shown(text: str) -> str:
    """A peer's text, short and in visible ASCII."""
    shown = ascii(text[:80])
    return shown if len(shown) <= 60 else f"{shown[:57]}...'"


def _digits(number: int) -> str:
    return str(number) if abs(number) < 10**9 else "beyond 10^9"


def _refuse(reason: str) -> NoReturn:
    raise ProtocolError(4415, reason[:_REASON_BYTES])
