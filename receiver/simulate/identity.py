"""The ids by which a stream and its call are told apart, and new ones for every copy of it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from receiver.simulate.script import Said

NAMES = ("streamSid", "callSid", "streamId", "callId", "stream_id", "call_id")
MAX_ID = 128  # characters: the longest that a receiver needs to take

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"([A-Z]{2})?[0-9a-fA-F]{32}")  # Twilio's: MZ… a stream, CA… a call
_TELLING = 16
"""Characters: a longer id is replaced wherever its text stands, a shorter one only under a name of NAMES."""


class Identity(msgspec.Struct, frozen=True):
    """The ids of a stream and its call, as its start message has them."""

    ids: tuple[str, ...] = ()

    def renamed(self, said: Iterator[Said], number: int) -> Iterator[Said]:
        """The same messages with other ids, each of the form that it had; ``number`` is for those of no known form."""
        new = {one: _like(one, number) for one in self.ids}
        telling = [one for one in sorted(new, key=len, reverse=True) if len(one) >= _TELLING]
        anywhere = re.compile("|".join(map(re.escape, telling)))
        short = [one for one in new if len(one) < _TELLING]
        keyed = re.compile(rf'("(?:{"|".join(NAMES)})"\s*:\s*")({"|".join(map(re.escape, short))})(?=")')
        for due_s, data in said:
            if isinstance(data, str):
                if any(one in data for one in telling):
                    data = anywhere.sub(lambda found: new[found[0]], data)
                if short:
                    data = keyed.sub(lambda found: found[1] + new[found[2]], data)
            yield due_s, data


def identity_of(start: Mapping[str, Any]) -> Identity:
    """The ids that a start message names."""
    body = start.get("start")
    found: dict[str, None] = {}
    for holder in (start, body if isinstance(body, dict) else {}):
        for name in NAMES:
            value = holder.get(name)
            if isinstance(value, str) and 0 < len(value) <= MAX_ID:
                found[value] = None
    return Identity(tuple(found))


def _like(old: str, number: int) -> str:
    if _UUID.fullmatch(old):
        return str(uuid.uuid4())
    if _HEX.fullmatch(old):
        return old[:-32] + uuid.uuid4().hex
    suffix = f"-{number}"
    return old[: MAX_ID - len(suffix)] + suffix
