"""Media Streams: the message language that Twilio began and SignalWire speaks too; their classes add what differs.

    connected ─► start ─► media, dtmf, mark … ─► stop

Twilio, Media Streams WebSocket messages: https://www.twilio.com/docs/voice/media-streams/websocket-messages and
SignalWire, cXML Stream: https://signalwire.com/docs/compatibility-api/cxml/reference/voice/stream (November 2026).
"""

from __future__ import annotations

import json
from typing import Literal

import msgspec

from receiver.dialects.dialect import Data
from receiver.dialects.json_text import Fields, audio, integer, member, read_object, text
from receiver.dialects.messages import Connected, Dtmf, Mark, Media, Message, Start, Stop, Unknown
from receiver.dialects.start import read_parameters, read_start, track_name
from receiver.errors import ProtocolError
from receiver.events import MASKED

_MAX_MARK_BYTES = 4096
_MAX_EVENT_CHARACTERS = 64
_DIGITS = frozenset("0123456789*#ABCD" + MASKED)
_DTMF_FIELDS = ("event", "sequenceNumber", "streamSid", "dtmf")


class _MediaText(msgspec.Struct):
    """A media message on the wire. Not a tagged struct: msgspec lets those pass with no tag at all."""

    event: Literal["media"]
    media: Media
    streamSid: str | None = None


# Not strict: SignalWire and Twilio write numbers as strings. Base64 is decoded in the same pass, strictly.
_decode_media = msgspec.json.Decoder(_MediaText, strict=False).decode


class MediaStreams:
    """One connection's messages: a typed decoder for plain media, a tolerant reader for the rest."""

    name = "media_streams"
    # SignalWire's pages do not say. Its own sample hands L16 at 24 kHz unchanged to a consumer of little-endian PCM
    # (github.com/signalwire/cXML-realtime-agent-stream), other published receivers do so too. Twilio sends no L16.
    l16_byte_order: Literal["little", "big"] = "little"
    parameters_due = False  # whether a start without customParameters is odd

    def __init__(self) -> None:
        self._stream_id: str | None = None
        self._tracks: tuple[str, ...] = ()
        self._greeting: Fields = {}

    @staticmethod
    def recognises(start: Fields) -> bool:
        """Whether nobody but this vendor writes such a start message."""
        return False

    def parse(self, data: Data) -> Message:
        """Read one message. Raises ProtocolError alone: 1003, 1007, and 4400 for a start that cannot be used."""
        if data.__class__ is not str:
            raise ProtocolError(1003, "binary message where text is due")
        try:
            line = _decode_media(data)
        except Exception:  # another event, or media that only the tolerant reader can judge
            return self._read(read_object(data))
        media = line.media
        stream_id = line.streamSid
        if stream_id is not None and stream_id != self._stream_id:
            self._check_stream(stream_id)
        track = media.track
        if track != "inbound" and track != "outbound":
            media.track = self._track(track)
        if not media.payload:  # empty; or base64 that spells null, which a lax decoder takes for None
            return self._read(read_object(data))
        return media

    def masked(self, data: str) -> str:
        """A dtmf message without the key, and without fields that nobody knows: they might tell it as well."""
        message = read_object(data)
        body = member(message, "dtmf")
        dtmf = self._dtmf(message)
        told = {"track": dtmf.track and body["track"], "duration": dtmf.duration_ms}  # only what could be read
        told = {name: value for name, value in told.items() if value is not None}
        said = {name: message[name] for name in _DTMF_FIELDS if isinstance(message.get(name), str | int)}
        return json.dumps({**said, "dtmf": {**told, "digit": MASKED}}, separators=(",", ":"))

    def _read(self, message: Fields) -> Message:
        match message.get("event"):
            case "media":
                return self._media(message)
            case "connected":
                self._greeting = read_parameters(message, "connected")
                return Connected(text(message.get("version"), 32))
            case "start":
                return self._start(message)
            case "dtmf":
                return self._dtmf(message)
            case "mark":
                self._check_stream(message.get("streamSid"))
                name = text(member(message, "mark").get("name"), _MAX_MARK_BYTES)
                if name is None:
                    raise ProtocolError(1007, f"mark.name is missing or not a string of up to {_MAX_MARK_BYTES} bytes")
                return Mark(name)
            case "stop":
                self._check_stream(message.get("streamSid"))
                return Stop()
            case str(event):
                return Unknown(event[:_MAX_EVENT_CHARACTERS].encode(errors="replace").decode())
        raise ProtocolError(1007, "event is missing or not a string")

    def _start(self, message: Fields) -> Start:
        start = read_start(message, self._greeting, parameters_due=self.parameters_due)
        if self._stream_id is None:  # a second start is for the session to judge
            self._stream_id = start.stream_id
            self._tracks = start.tracks
        return start

    def _media(self, message: Fields) -> Media:
        self._check_stream(message.get("streamSid"))
        body = member(message, "media")
        return Media(
            self._track(body.get("track")),
            audio(body.get("payload")),
            integer(body.get("chunk"), "media.chunk"),
            integer(body.get("timestamp"), "media.timestamp"),
        )

    def _dtmf(self, message: Fields) -> Dtmf:
        self._check_stream(message.get("streamSid"))
        body = member(message, "dtmf")
        value = body.get("digit")
        digit = str(value) if isinstance(value, str | int) else ""  # a digit may come as a number
        digit = digit.upper()
        if digit not in _DIGITS:
            raise ProtocolError(1007, "dtmf.digit is not one of 0-9 * # A-D")
        track = body.get("track")
        return Dtmf(
            digit,
            integer(body.get("duration"), "dtmf.duration"),
            track_name(track) if isinstance(track, str) else None,
        )

    def _track(self, value: object) -> str:
        if not isinstance(value, str):
            if len(self._tracks) == 1:  # nothing else can be meant
                return self._tracks[0]
            raise ProtocolError(1007, "media.track is missing or not a string")
        name = track_name(value)
        if name is None:
            raise ProtocolError(1007, "media.track is not a name of 1 to 32 letters, digits, _ . -")
        return name

    def _check_stream(self, stream_id: object) -> None:
        if stream_id is not None and stream_id != self._stream_id and self._stream_id is not None:
            raise ProtocolError(1007, "streamSid is not the one of start")
