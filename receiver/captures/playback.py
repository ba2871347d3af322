"""A capture through the same middle as it went through live: entries in, events out."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from receiver.captures.capture import Batch, CaptureError, End, Pause
from receiver.captures.reader import CaptureReader
from receiver.errors import ConfigError, ProtocolError
from receiver.events import EndReason, Event
from receiver.sessions.session import Session
from receiver.sessions.settings import SessionSettings

OURS = 1011
"""The close code of a mistake of our own, which is no verdict on the peer."""


class Playback:
    """Plays a capture. The times of the session are the capture's: seconds since the connection was accepted.

    What comes out is what came out live, event by event, where settings are the same: the middle has no other input.
    A capture that breaks off, as after a crash, ends with ``EndReason.CRASH``.
    """

    def __init__(self, reader: CaptureReader, settings: SessionSettings | None = None) -> None:
        """``settings``: None for those that the capture was made with. Raises CaptureError as ``settings_of``."""
        try:
            self.session = Session(at=0.0, settings=settings or settings_of(reader))
        except ConfigError as error:
            raise CaptureError(f"{reader.path}: the header's settings: {error}") from None
        self.at = 0.0
        """The time of what was read last."""
        self._reader = reader

    def read(self) -> list[Event] | None:
        """The events of the next entry, perhaps none; None: there is nothing more, or not yet. Blocks for the disk.

        Raises CaptureError where the capture cannot be read any further.
        """
        entry = self._reader.read()
        if entry is None:
            return None
        session, at = self.session, max(self.at, entry.at)
        self.at = at
        if isinstance(entry, Batch):
            return session.receive_kept(entry.data, at)
        if isinstance(entry, Pause):
            return session.withhold(entry.tracks, at)
        return self._end(entry, at)

    def __iter__(self) -> Iterator[list[Event]]:
        """The events of the whole capture, entry by entry, to Ended where a stream had started."""
        while self.session.reason is None and (events := self.read()) is not None:
            if events:
                yield events
        if events := self.session.close(EndReason.CRASH, self.at):
            yield events

    def _end(self, end: End, at: float) -> list[Event]:
        session = self.session
        if end.reason is EndReason.ERROR and session.reason is None and end.code is not None and end.code != OURS:
            # What the session was told of withheld messages is not in the capture; its verdict is.
            session.error = ProtocolError(end.code, end.text)
        return session.close(end.reason, at)


msgspec.convert({}, SessionSettings)  # so that it is known before threads are: see receiver.recordings.journal


def settings_of(reader: CaptureReader) -> SessionSettings:
    """The settings that a capture was made with. Raises CaptureError where its header names what there is not."""
    try:
        return msgspec.convert(reader.header.settings, SessionSettings)
    except msgspec.ValidationError as error:
        raise CaptureError(f"{reader.path}: the header's settings: {error}") from None
