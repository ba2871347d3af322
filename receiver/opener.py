"""The opener: makes a stream's folder and lets its sinks in, for all streams of a process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from receiver import disk
from receiver.captures.capture import NAME, SPILL, Header
from receiver.captures.writer import CaptureWriter
from receiver.config import Captures
from receiver.errors import ReceiverError
from receiver.logs import logger
from receiver.metrics import Metrics
from receiver.open_stream import OpenStream
from receiver.recordings import Recording
from receiver.selection import selects
from receiver.sessions.settings import SessionSettings
from receiver.sinks.hub import Hub
from receiver.stream import StreamFacts

FOLDER_S = 10.0
"""How long a folder is tried to be made. What is said meanwhile waits in memory: the flood rule bounds it."""

log = logger("receiver.stream")


class RecordingNotMade(ReceiverError):
    """There can be no folder for a stream, e.g. because the disk is full."""


@dataclass(frozen=True)
class Opener:
    """What the streams of a process share."""

    hub: Hub
    metrics: Metrics
    root: Path
    template: str  # of a stream's folder below the root
    captures: Captures
    mask_digits: bool
    keep: Callable[[OpenStream, Coroutine[Any, Any, None]], None]
    """Has the late sinks of a stream go on when its connection is over."""
    closing: Callable[[], bool] = lambda: False
    """Whether everything ends now: then nothing is tried again, as the next start will."""
    unfinished: Callable[[Path], None] = lambda directory: None
    """Takes the folder of a stream that is over and could not be finished, with nobody left who works on it."""

    async def open(
        self, facts: StreamFacts, settings: SessionSettings, header: Header, capture: CaptureWriter | None
    ) -> OpenStream:
        """Make the folder, away from the loop, and let the sinks in. Raises RecordingNotMade.

        ``capture`` has what came until now; whether it is kept shows here, as this needs the start message.
        """
        recording = await self._record(facts)
        if capture is not None:
            captures = self.captures
            if captures.enabled and selects(captures.sources, captures.when, facts):
                capture.open(recording.directory / NAME, header)
                recording.add_file(recording.directory / NAME, "capture", "application/jsonl", "captures")
            elif self.hub.needs_history(facts):
                capture.open(recording.directory / SPILL, header)
            else:
                capture.discard()
                capture = None
        return OpenStream(self, facts, recording, settings, capture)

    async def _record(self, facts: StreamFacts) -> Recording:
        """Make the folder, at once or as soon as the disk lets us."""
        create = partial(Recording.create, self.root, self.template, facts, mask_digits=self.mask_digits)
        give_up_at = time.monotonic() + FOLDER_S
        while True:
            try:
                return await asyncio.to_thread(create)
            except OSError as error:
                disk.failed(error)
                if not disk.trouble() or time.monotonic() > give_up_at or self.closing():
                    raise RecordingNotMade(str(error)) from error
                log.warning("recording_delayed", stream=facts.id, source=facts.source, problem=str(error))
            await asyncio.sleep(disk.RETRY_S)
