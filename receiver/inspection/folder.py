"""A stream's folder: its ``stream.json``, or its journal before that, and its capture where one was kept."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import soundfile

from receiver.captures import capture as captures
from receiver.captures.capture import CaptureError
from receiver.errors import ReceiverError
from receiver.events import Ended, EndReason, Gap
from receiver.inspection.audio_file import measure
from receiver.inspection.capture import CaptureInspection, is_locked
from receiver.inspection.report import (
    EndFigures,
    Report,
    State,
    StreamFigures,
    TrackFigures,
    digit_figures,
    gap_figures,
    gaps_s,
    jump_figures,
    mark_figures,
    seconds,
)
from receiver.recordings import journal, stream_json
from receiver.recordings.journal import End, JournalError
from receiver.recordings.stream_json import Document, MeasuredFile, TrackEntry

UNKNOWN = [
    "when messages arrived: spacing and jitter",
    "when messages were duplicate, late or out of order",
    "which messages could not be read, and which were withheld",
    "the headers of the handshake",
]
"""What only a capture can say."""


STEREO = {"inbound": (0,), "outbound": (1,)}
"""Channels of ``stereo.wav`` (or ``.flac`` …), which may be all that is left of the audio."""


class InspectionError(ReceiverError):
    """There is nothing to inspect; the text names the file or the folder, and why."""


def inspect(path: Path) -> Report:
    """What is in a capture or a stream's folder. Blocks for as long as it takes to read it.

    Raises InspectionError for what is neither.
    """
    try:
        return _folder(path) if path.is_dir() else CaptureInspection(path).report()
    except CaptureError as error:
        raise InspectionError(str(error)) from None
    except OSError as error:
        raise InspectionError(f"{error.filename or path}: {error.strerror}") from None


def _folder(directory: Path) -> Report:
    kept = next((path for path in _captures(directory) if path.is_file()), None)
    try:
        document, state = _read(directory)
    except (JournalError, ValueError) as error:
        raise InspectionError(f"{directory}: {error}") from None
    if document is None:
        if kept is None:
            raise InspectionError(
                f"{directory}: is no stream's folder: there is no {stream_json.NAME}, {journal.NAME} or {captures.NAME}"
            )
        return CaptureInspection(kept).report()
    unreadable: list[str] = []
    if kept is not None:
        try:
            report = CaptureInspection(kept).report()
        except CaptureError as error:
            unreadable = [f"all that is in the capture, which cannot be read ({error})"]
        else:
            return _with_document(report, directory, document, state)
    report = Report(path=str(directory), kind="folder", state=state, unknown=unreadable + UNKNOWN)
    report.tracks = {name: _track(directory, document, name, entry) for name, entry in document.tracks.items()}
    report.ignored, report.duration_s = document.ignored, document.duration_s
    return _with_document(report, directory, document, state)


def _captures(directory: Path) -> list[Path]:
    return [directory / captures.NAME, directory / f"{captures.NAME}.gz"]


def _read(directory: Path) -> tuple[Document | None, State]:
    """What is known of a stream beside its capture, and how it stands."""
    document = stream_json.read(directory)
    if document is not None:
        return document, "ended"
    path = directory / journal.NAME
    state: State = "live" if is_locked(path) else "crashed"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # where it has just ended, there is a stream.json by now
        return stream_json.read(directory), "ended"
    try:
        facts, ledger, end, _ = journal.read(descriptor)
    finally:
        os.close(descriptor)
    files = [MeasuredFile(f.path, f.kind, f.media_type, f.sink, None, None) for f in ledger.files.values()]
    end = end or End(Ended(EndReason.CRASH, False, dict(ledger.counters)), datetime.now(UTC))
    return stream_json.document(facts, ledger, end, files), state


def _with_document(report: Report, directory: Path, document: Document, state: State) -> Report:
    """A report with what ``stream.json`` knows better, or alone."""
    report.path, report.kind, report.state = str(directory), "folder", state
    report.stream = StreamFigures(
        id=document.id,
        source=document.source,
        dialect=document.dialect,
        stream_id=document.stream_id,
        call_id=document.call_id,
        account_id=document.account_id,
        announced_tracks=document.announced_tracks,
        format=document.format,
        parameters=dict(document.parameters),
        path_parameters=dict(document.path_parameters),
        peer_address=document.peer_address,
        token=document.token,
        started=document.started,
        ended=document.ended if state == "ended" else None,
    )
    said = report.end.text if report.end else ""
    end = document.end
    report.end = None
    if state == "ended":
        report.end = EndFigures(
            reason=end.reason,
            stop_received=end.stop_received,
            error=end.error,
            close_code=end.close_code,
            text=said,
        )
    report.digits = [digit_figures(digit) for digit in document.digits]
    report.marks = [mark_figures(mark) for mark in document.marks]
    report.annotations = document.annotations
    report.files, report.sinks = document.files, document.sinks
    report.omitted = report.omitted | document.omitted
    return report


def _track(directory: Path, document: Document, name: str, entry: TrackEntry) -> TrackFigures:
    rate = entry.counters.rate if entry.counters else document.format.rate
    spans = [Gap(name, gap.start, gap.end, rate, gap.cause) for gap in entry.gaps]
    gaps = [gap_figures(gap) for gap in spans]
    length = entry.counters.length if entry.counters else max((gap.end for gap in spans), default=0)
    envelope, source = None, None
    for path, channel in _audio(directory, document, name):
        try:
            envelope, source = measure(path, spans, channel), path.name
            break
        except (OSError, IndexError, soundfile.LibsndfileError):
            continue
    return TrackFigures(
        rate=rate,
        duration_s=seconds(length, rate),
        counters=entry.counters,
        packets=None,
        gaps=gaps,
        gaps_s=gaps_s(entry.counters, gaps),
        odd=[],
        discontinuities=[jump_figures(jump) for jump in document.discontinuities if jump.track == name],
        audio=envelope.figures() if envelope else None,
        waveform=envelope.waveform() if envelope else None,
        audio_source=source,
    )


def _audio(directory: Path, document: Document, track: str) -> list[tuple[Path, int | None]]:
    """Where a track's audio may lie: files that sinks listed under its name, one that is being written, and stereo."""
    listed = [directory / file.path for file in document.files if file.media_type.startswith("audio/")]
    inside = [path for path in listed if path.resolve().is_relative_to(directory.resolve())]
    alone = [path for path in inside if path.stem == track]
    alone += [directory / f"{track}.wav", directory / f"{track}.wav.part"]
    both = [*(path for path in inside if path.stem == "stereo"), directory / "stereo.wav"]
    return [*((path, None) for path in alone), *((path, side) for path in both for side in STEREO.get(track, ()))]


def encode(report: Report) -> bytes:
    """The report as one JSON object."""
    return journal.encode(report)
