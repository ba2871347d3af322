"""At start: finish what a crash left behind. Nothing is deleted but journals that have served, nothing overwritten."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec

from receiver.captures.capture import SPILL
from receiver.events import Annotation, Ended, EndReason, Passing
from receiver.logs import logger
from receiver.recordings import journal, stream_json
from receiver.recordings.journal import End, JournalError
from receiver.recordings.ledger import FileEntry, Ledger
from receiver.recordings.naming import ERASED
from receiver.recordings.recording import relative
from receiver.stream import Stream, StreamFacts

_log = logger("receiver.recordings")


THREADS = 4
"""Folders that are finalised at once."""


class _Finder:
    """Takes what sinks say of a stream that they finish after a crash. What the journal says already stands."""

    def __init__(self, directory: Path, ledger: Ledger) -> None:
        self.directory = directory
        self.ledger = ledger

    def annotated(self, annotation: Annotation) -> None:
        encoded, _ = journal.encode_annotation(annotation)
        if not isinstance(annotation, Passing):  # nobody listens any more
            self.ledger.add_annotation(encoded)

    def file_added(self, path: Path, kind: str, media_type: str, sink: str) -> None:
        name = relative(self.directory, path)
        if name not in self.ledger.files:
            self.ledger.add_file(FileEntry(name, kind, media_type, sink))


def recover(
    root: Path, recoverers: Mapping[str, Callable[[Stream], None]], stopped: Callable[[], bool] = lambda: False
) -> list[Path]:
    """Finalise every folder below ``root`` that has a journal and no live process; the folders that were finalised.

    ``recoverers`` are the plugins' ``recover`` by the sink's name. Where one of them fails, or a journal cannot be
    read, that is logged and the journal kept, and the other folders are finalised all the same. A second run changes
    nothing. Before each folder ``stopped`` is asked: what is left then is the next start's. Blocks for as long as that
    takes; several folders are finalised at once, each in a thread, as most of the time is spent waiting for the disk.
    """
    folders: SimpleQueue[Path] = SimpleQueue()
    for directory in _folders(root):
        folders.put(directory)
    done: list[Path] = []
    problems: list[BaseException] = []

    def work() -> None:
        try:
            while not problems and not stopped():
                directory = folders.get_nowait()
                if recover_folder(directory, recoverers):
                    done.append(directory)
        except Empty:
            pass
        except BaseException as problem:
            problems.append(problem)

    # Not a pool: the end of a process would wait for its threads, and a plugin's recover may never come back.
    threads = [threading.Thread(target=work, name="recovery", daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    return sorted(done)


def recover_folder(directory: Path, recoverers: Mapping[str, Callable[[Stream], None]]) -> bool:
    """Finalise one folder, if no live process holds it; whether that was done. What keeps it from that is logged."""
    try:
        descriptor = journal.lock(directory / journal.NAME)
        if descriptor is None:
            return False  # a live stream, of this process or another one
        try:
            return _finalise(directory, descriptor, recoverers)
        finally:
            os.close(descriptor)
    except (OSError, JournalError, ValueError) as problem:
        _log.error("recording_not_recovered", directory=str(directory), problem=str(problem))
        return False


def _folders(root: Path) -> Iterator[Path]:
    for directory, folders, names in os.walk(root, onerror=_unread):  # follows no symbolic link
        folders[:] = sorted(name for name in folders if name != ERASED)  # that is for nobody to finish
        if journal.NAME in names:
            yield Path(directory).absolute()


def _unread(problem: OSError) -> None:
    """Say which folder could not be looked into. Ours are our own account's: lost+found is nobody's stream."""
    if not isinstance(problem, FileNotFoundError | PermissionError):
        _log.error("folder_not_read", directory=problem.filename, problem=str(problem))


def _finalise(directory: Path, descriptor: int, recoverers: Mapping[str, Callable[[Stream], None]]) -> bool:
    facts, ledger, end, unread = journal.read(descriptor)
    if end is None:
        last_word = datetime.fromtimestamp(os.fstat(descriptor).st_mtime, UTC)
        # Where the wall clock was put back meanwhile, no stream ends before it began.
        earliest = facts.started + timedelta(seconds=ledger.duration_s())
        end = End(Ended(EndReason.CRASH, False, dict(ledger.counters)), max(last_word, earliest))
    (directory / SPILL).unlink(missing_ok=True)  # nobody asked for it, and whom it served is gone
    failed = _run(directory, facts, ledger, recoverers)
    replaced = _replaced(directory, ledger)
    for path in replaced:
        del ledger.files[path]
    _write(directory, facts, ledger, end, replaced)
    if failed:
        return False
    with stream_json.synced(directory):
        if unread:
            _log.error("journal_damaged", directory=str(directory), unread_bytes=unread)
            _keep(directory / journal.NAME)
        else:
            (directory / journal.NAME).unlink()
    return True


def _run(
    directory: Path, facts: StreamFacts, ledger: Ledger, recoverers: Mapping[str, Callable[[Stream], None]]
) -> bool:
    failed = False
    for name, recoverer in recoverers.items():
        try:
            recoverer(Stream(facts, directory, _Finder(directory, ledger), name))
        except Exception as problem:  # whatever a plugin does, the others have their turn
            failed = True
            _log.error("sink_not_recovered", directory=str(directory), sink=name, problem=str(problem))
    return failed


def _replaced(directory: Path, ledger: Ledger) -> set[str]:
    """Files that are gone since their sink has put another one in their place, e.g. an encoded one."""
    there = {path for path in ledger.files if (directory / path).exists()}
    names = {(ledger.files[path].sink, Path(path).with_suffix("")) for path in there}
    gone = ledger.files.keys() - there
    return {path for path in gone if (ledger.files[path].sink, Path(path).with_suffix("")) in names}


def _write(directory: Path, facts: StreamFacts, ledger: Ledger, end: End, replaced: Set[str]) -> None:
    """Write ``stream.json``; where there is one, which may know more than the journal, add to it what it lacks."""
    there = stream_json.read(directory)
    if there is None:
        measured = [stream_json.measure(directory, file) for file in ledger.files.values()]
        stream_json.write(directory, stream_json.document(facts, ledger, end, measured))
        return
    listed = {file.path: file for file in there.files if file.path not in replaced}
    annotations = _missing(there.annotations, ledger.annotations)
    if annotations or len(listed) < len(there.files) or not listed.keys() >= ledger.files.keys():
        measured = [stream_json.measure(directory, file) for file in (listed | ledger.files).values()]
        more = msgspec.structs.replace(there, files=measured, annotations=there.annotations + annotations)
        stream_json.write(directory, more)


def _missing(there: list[msgspec.Raw], known: list[msgspec.Raw]) -> list[msgspec.Raw]:
    """What sinks said after the end and before the crash, or when they finished their files."""
    counted = Counter(journal.encode(msgspec.json.decode(annotation)) for annotation in there)
    missing = []
    for annotation in known:
        if counted[text := bytes(annotation)] > 0:
            counted[text] -= 1
        else:
            missing.append(annotation)
    return missing


def _keep(path: Path) -> None:
    """Move a damaged journal out of the next recovery's way, for a person to look at."""
    number = 1
    while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(kept)
