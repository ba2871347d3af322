"""What is withheld of a stream, and what may be stored of a message: it as it came, less of it, or its size alone."""

from __future__ import annotations

from receiver.dialects.dialect import Data, Dialect
from receiver.dialects.messages import Connected, Dtmf, Mark, Media, Message, Start, Stop, Unknown
from receiver.events import MASKED
from receiver.sessions.tracks import Tracks


def withholds(tracks: Tracks | None, message: Message | None, at: float) -> bool:
    """Whether a message is to leave no trace. None is one that cannot be read, and may hold anything."""
    if tracks is None:
        return False
    match message:
        case Media():
            return tracks.withholds_media(message, at)
        case Dtmf():
            return tracks.withholds(message.track)
        case Connected() | Start() | Mark():  # the first two are repeated here, and may hold anything
            return tracks.silent
        case Stop():
            return False
    return tracks.withholds(None)


def storable(
    tracks: Tracks | None, message: Message | None, data: Data, at: float, dialect: Dialect, *, mask: bool
) -> Data | int:
    """What may be kept of a message; a number is its size. ``mask`` leaves out which key was pressed."""
    if withholds(tracks, message, at):
        return len(data)
    if isinstance(message, Stop) and withholds(tracks, None, at):
        return '{"event":"stop"}'  # what else it says is nothing that is needed
    if mask and isinstance(message, Dtmf) and isinstance(data, str):
        return dialect.masked(data)
    if mask and isinstance(message, Unknown) and _may_hold_digit(data):
        return f'{{"event":"{MASKED}"}}'  # nobody knows such a one either
    if mask and message is None and _may_hold_digit(data):
        masked = MASKED * len(data)  # as unreadable, and as long
        return masked if isinstance(data, str) else masked.encode()
    return data


def _may_hold_digit(data: Data) -> bool:
    """Whether a message that cannot be read, or that nobody knows, looks as if it told of a pressed key."""
    text = (data if isinstance(data, str) else data.decode("latin-1")).lower()
    return "dtmf" in text or "digit" in text
