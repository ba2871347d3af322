"""A capture to be played to a server: checked as a whole, and held in memory if it is small."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from receiver.captures.capture import Batch, CaptureError, End, Entry
from receiver.captures.reader import CaptureReader
from receiver.dialects.dialect import Data
from receiver.simulate.fields import read_fields, read_message
from receiver.simulate.identity import Identity, identity_of
from receiver.simulate.script import Ending, Said, ending_of
from receiver.simulate.spacing import spaced

HELD_CHARACTERS = 64 * 2**20
"""Of all tapes of a process: what is beyond is read from the disk again for every call."""


class Tape:
    """What a capture holds. Its text is read as a whole once, so that a damaged one is known before anything is sent.

    Blocks for the disk. Raises CaptureError, which names file and line, for what cannot be read or holds no message.
    """

    def __init__(self, path: Path, *, hold_characters: int = HELD_CHARACTERS) -> None:
        """``hold_characters``: how much may be kept in memory of it."""
        self.path = path
        self.messages = 0
        self.media = 0
        """Of the messages, those with audio."""
        self.characters = 0
        """Of the messages: characters of text, bytes of binary ones."""
        self.withheld = 0
        """Messages of which the capture has the size alone."""
        self.duration_s = 0.0
        """From the first message to the last."""
        self.audio_s = 0.0
        """From the first packet to the last, by their timestamps; where they have none, the same."""
        self.identity = Identity()
        self.ending = Ending()
        held: list[Said] | None = []
        first_ms: int | None = None
        for due_s, data in self._read(noting=True):
            fields = read_fields(data)
            if fields.is_media and fields.stamp_ms is not None:
                first_ms = fields.stamp_ms if first_ms is None else first_ms
                self.audio_s = max(self.audio_s, (fields.stamp_ms - first_ms) / 1000)
            self.messages += 1
            self.media += fields.is_media
            self.characters += len(data)
            self.duration_s = due_s
            if fields.event == "start" and not self.identity.ids:
                self.identity = identity_of(read_message(data))
            if held is not None:
                held.append((due_s, data))
                if self.characters > hold_characters:
                    held = None
        if first_ms is None:
            self.audio_s = self.duration_s
        if not self.messages:
            raise CaptureError(f"{path}: holds no message that could be sent")
        self._held = held

    @property
    def held(self) -> bool:
        """Whether it is in memory."""
        return self._held is not None

    def said(self) -> Iterator[Said]:
        """The messages and how the peer ended. Blocks for the disk, and raises CaptureError, unless it is held."""
        yield from self._read() if self._held is None else self._held
        yield self.duration_s, self.ending

    def _read(self, *, noting: bool = False) -> Iterator[tuple[float, Data]]:
        with CaptureReader(self.path) as reader:
            entries = self._noted(reader) if noting else iter(reader)
            yield from spaced(entries, reader.header.resolution_ms)

    def _noted(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Note what is there beside the messages."""
        for entry in entries:
            if isinstance(entry, Batch):
                self.withheld += sum(isinstance(one, int) for one in entry.data)
            elif isinstance(entry, End):
                self.ending = ending_of(entry)
            yield entry


def read_tapes(paths: list[Path]) -> list[Tape]:
    """Read captures, and hold as many in memory as is reasonable. Raises CaptureError for the first that is broken."""
    tapes = []
    room = HELD_CHARACTERS
    for path in paths:
        tape = Tape(path, hold_characters=room)
        if tape.held:
            room -= tape.characters
        tapes.append(tape)
    return tapes
