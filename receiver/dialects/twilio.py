"""Twilio Media Streams: https://www.twilio.com/docs/voice/media-streams/websocket-messages (November 2026)."""

from __future__ import annotations

import re

from receiver.dialects.json_text import Fields
from receiver.dialects.media_streams import MediaStreams

_SIDS = {  # two letters and 32 digits in hexadecimal, where SignalWire has a UUID; the pages print X for a digit
    "streamSid": re.compile(r"MZ[0-9A-Za-z]{16,}"),
    "callSid": re.compile(r"CA[0-9A-Za-z]{16,}"),
    "accountSid": re.compile(r"AC[0-9A-Za-z]{16,}"),
}


class Twilio(MediaStreams):
    """The family with ``streamSid`` on every message after the first, and ``customParameters`` in every start."""

    name = "twilio"
    parameters_due = True

    @staticmethod
    def recognises(start: Fields) -> bool:
        """By ``streamSid`` at the top level, or an id that begins with MZ, CA or AC."""
        if isinstance(start.get("streamSid"), str):
            return True
        body = start.get("start")
        ids = {name: body.get(name) for name in _SIDS} if isinstance(body, dict) else {}
        return any(isinstance(value, str) and _SIDS[name].fullmatch(value) for name, value in ids.items())
