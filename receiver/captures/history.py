"""A live stream's past, for a sink that could not keep up: its capture, played from the beginning."""

from __future__ import annotations

from collections.abc import Sequence

from receiver.captures.capture import CaptureError
from receiver.captures.playback import Playback
from receiver.captures.reader import CaptureReader, NoHeader
from receiver.captures.writer import CaptureWriter
from receiver.events import Event
from receiver.logs import logger
from receiver.sessions.settings import SessionSettings

SPAN_S = 1.0
"""Of the stream, what one ``read`` gives at most, and a batch."""

log = logger("receiver.captures")


class CaptureHistory:
    """Reads what is being written. For one thread at a time; blocks for the disk."""

    def __init__(self, writer: CaptureWriter, settings: SessionSettings) -> None:
        self._writer = writer
        self._settings = settings
        self._reader: CaptureReader | None = None
        self._playback: Playback | None = None
        self._over = False

    def read(self) -> Sequence[Event] | None:
        """The stream's next events. Empty: nothing more has been written yet. None: nothing more will come."""
        if self._over:
            return None
        over = self._writer.over  # asked before the file is: what was written until then is found
        try:
            events = self._read()
        except CaptureError as error:
            log.error("capture_not_read", problem=str(error))
            over, events = True, []
        if not events and over:
            self.close()
            return None
        return events

    def close(self) -> None:
        """Let go of the file."""
        self._over = True
        if self._reader is not None:
            self._reader.close()

    def _read(self) -> list[Event]:
        if self._playback is None:
            path = self._writer.path
            if path is None or not path.exists():
                return []
            try:
                self._reader = CaptureReader(path)
            except NoHeader:
                return []
            self._playback = Playback(self._reader, self._settings)
        playback, events = self._playback, list[Event]()
        until = playback.at + SPAN_S
        while (playback.at < until or not events) and (more := playback.read()) is not None:
            events += more
        return events
