"""Erasing what somebody asks for: a stream by our id of it, or all streams of a call.

What is live, or what sinks are still at work on, is kept; then everything else of a call is erased all the same, and
the answer says of both. Nothing that is left is passed over in silence.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from receiver.logs import logger
from receiver.recordings.erasing import Erased, Eraser, InUse
from receiver.recordings.stored import Identity, find_call, find_stream

WHY = {
    "live": "it is live",
    "sinks": "sinks are at work on it",
    "unfinished": "it is not finished",
    "erasing": "it is being erased",
    "failed": "the disk failed",
}

log = logger("receiver.recordings")


class Kept(msgspec.Struct, frozen=True):
    """A stream that is still there, and why: ``sinks`` are those to wait for."""

    id: str | None
    call_id: str | None
    directory: str | None
    why: Literal["live", "sinks", "unfinished", "erasing", "failed"]
    sinks: tuple[str, ...] = ()
    problem: str | None = None


class Outcome(msgspec.Struct):
    """What became of the streams that were asked for. Both lists are empty where there is none."""

    erased: list[Erased]
    kept: list[Kept]


def erase_asked(
    eraser: Eraser,
    template: str,
    *,
    stream_id: str | None = None,
    call_id: str | None = None,
    by: str | None = None,
    live: Collection[str | None] = (),
) -> Outcome:
    """Erase a stream, or every stream of a call, and what an earlier request could not erase whole. Blocks.

    ``template`` is that of the folders; ``by`` is who asked; ``live`` are ids of streams to be left alone, which the
    caller tells of.
    """
    with suppress(OSError):  # it is said with this request's own
        eraser.finish()
    unread: dict[str, Kept] = {}

    def problem(directory: str, error: OSError) -> None:
        if not isinstance(error, PermissionError):  # ours are our own account's: lost+found is nobody's stream
            log.error("folder_not_read", directory=directory, problem=str(error))
            unread[directory] = Kept(None, None, directory, "failed", problem=error.strerror or str(error))

    if stream_id is not None:
        found = find_stream(eraser.root, template, stream_id, problem)
    else:
        found = [] if call_id is None else find_call(eraser.root, call_id, problem)
    outcome = Outcome([], [])
    for directory, identity in found:
        if identity.id not in live:
            _erase(eraser, directory, identity, by, outcome)
    if stream_id is None or not found:  # else what could not be read was another one
        outcome.kept += unread.values()
    return outcome


def _erase(eraser: Eraser, directory: str, identity: Identity, by: str | None, outcome: Outcome) -> None:
    try:
        erased = eraser.erase(Path(directory), "asked", by)
        if erased is not None:
            outcome.erased.append(erased)
    except InUse as use:
        outcome.kept.append(Kept(identity.id, identity.call_id, directory, use.why, use.sinks))
    except OSError as error:
        log.error("stream_not_erased", stream=identity.id, call=identity.call_id, problem=str(error), by=by)
        kept = Kept(identity.id, identity.call_id, directory, "failed", problem=error.strerror or str(error))
        outcome.kept.append(kept)
