"""Retention: finished streams go when they are old enough, or when the disk is short, the oldest first.

A thread of its own looks for them, at its leisure: a tenth of the time, however many there are. Of several processes on
one root one looks at a time. What is live, unfinished, or not delivered yet stays, however old it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from receiver.logs import logger
from receiver.recordings.erasing import Erased, Eraser, InUse, Reason
from receiver.recordings.stored import Enter, Identity, everywhere, identity_at, stored_streams

ROUND_S = 3600.0
"""How often it is looked for streams that are too old, and again after there was nothing to erase on a full disk."""

LOOK_S = 1.0
"""How often it is looked how much of the disk is free."""

PORTION = 100
"""How many folders are read before there is a rest."""

SHARE = 0.1
"""Of the time, what looking for streams that are too old may take."""

URGENT_SHARE = 0.5
"""Of the time, what looking for the oldest may take while the disk is short."""

OLDEST = 1000
"""How many streams are remembered, after all folders were read, as the next to go from a short disk."""

COMPLAINTS = 1000
"""How many folders that cannot be erased are named in the log, once each."""

STOP_S = 5.0
"""How long the end waits for the folder that is being erased."""

DAY_S = 86_400.0
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)

log = logger("receiver.recordings")


class Retention:
    """Erases what need not be kept. Zero for ``keep_days`` or ``keep_free_bytes``: not because of that."""

    def __init__(self, eraser: Eraser, template: str, *, keep_days: float, keep_free_bytes: int) -> None:
        self._eraser = eraser
        self._dated = [part == "{date}" for part in template.split("/")]
        self._keep_s = keep_days * DAY_S
        self._keep_free = keep_free_bytes
        self._oldest: deque[str] = deque()
        self._nothing_until = 0.0  # on the monotonic clock
        self._held = 0
        self._complained: set[str] = set()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._began = time.time() - time.monotonic()

    def start(self) -> None:
        """Begin; first with what a crash has left half erased."""
        self._thread = threading.Thread(target=self._run, name="receiver-retention", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, with the folder that is being erased. Blocks for that, but not for a disk that hangs."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopped.is_set():
            try:
                if time.monotonic() >= due:
                    self._eraser.finish()
                if not self._keep_s and not self._keep_free:
                    return
                with self._alone() as alone:
                    if alone and time.monotonic() >= due:
                        due = time.monotonic() + ROUND_S
                        self._erase_old()
                    if alone:
                        self._make_room()
            except FileNotFoundError:
                pass  # there is no root: it is made again with the next stream's folder
            except OSError as problem:
                self._complain(os.fspath(self._eraser.root), problem)
            self._stopped.wait(max(LOOK_S, 0.0 if self._keep_free else due - time.monotonic()))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether no other process looks after this root now; if so, none does until the end."""
        root = os.open(self._eraser.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            except OSError:
                pass  # a file system without such locks: then each looks, and only one can erase a folder
            yield True
        finally:
            os.close(root)

    def _erase_old(self) -> None:
        if not self._keep_s:
            return
        latest = self._now() - self._keep_s
        held, said = 0, dict[str, Any]()
        look = time.monotonic() + LOOK_S
        for directory, identity in self._finished(self._enter_before(latest), SHARE):
            if time.monotonic() >= look:  # a million folders take many minutes, and a disk is full in one
                self._make_room()
                look = time.monotonic() + LOOK_S
            if identity.ended <= latest:
                begun = time.monotonic()
                try:
                    self._erase(directory, "age")
                    self._stopped.wait(time.monotonic() - begun)  # nobody is in a hurry, and the disk has other work
                except InUse as in_use:
                    held += 1
                    said = {"directory": directory, "why": in_use.why, "sinks": in_use.sinks}
        if held not in (0, self._held):
            log.warning("old_streams_kept", streams=held, **said)
        self._held = held

    def _enter_before(self, latest: float) -> Enter:
        """Not into folders of a date that is too young: what is in there began on that day, and ended later.

        A date beyond tomorrow is no such date, whoever made it up.
        """
        tomorrow = self._now() + DAY_S

        def enter(depth: int, name: str) -> bool:
            if depth >= len(self._dated) or not self._dated[depth] or not _DATE.fullmatch(name):
                return True
            try:
                began = datetime.fromisoformat(name).replace(tzinfo=UTC).timestamp()
            except ValueError:
                return True
            return not latest < began <= tomorrow

        return enter

    def _make_room(self) -> None:
        """Erase the oldest until as much is free as there should be."""
        if not self._keep_free:
            return
        free = shutil.disk_usage(self._eraser.root).free
        needed = self._keep_free - free
        if needed <= 0 or time.monotonic() < self._nothing_until:
            return
        fruitless = False
        while needed > 0 and not self._stopped.is_set():
            if not self._oldest:
                if not fruitless and not self._find_oldest():
                    return
                if fruitless or not self._oldest:
                    self._nothing_until = time.monotonic() + ROUND_S
                    log.warning("nothing_to_erase", free_bytes=free, needed_bytes=needed)
                    return
                fruitless = True
            with contextlib.suppress(InUse):
                erased = self._erase(self._oldest.popleft(), "disk")
                if erased is not None:
                    fruitless = False
                    needed -= erased.freed  # the file system itself may say so only some time later

    def _find_oldest(self) -> bool:
        """Read all folders. False: it was stopped meanwhile, and does not know."""
        finished = self._finished(everywhere, URGENT_SHARE)
        ages = ((identity.ended, directory) for directory, identity in finished if not identity.pending)
        oldest = heapq.nsmallest(OLDEST, ages)
        self._oldest.extend(directory for _, directory in oldest)
        return not self._stopped.is_set()

    def _finished(self, enter: Enter, share: float) -> Iterator[tuple[str, Identity]]:
        """The folder of each finished stream, and whose it is. What this takes, and nothing else, is rested from."""
        spent, begun = 0.0, time.monotonic()
        for number, stored in enumerate(stored_streams(self._eraser.root, enter=enter, problem=self._complain), 1):
            identity = self._identity(stored.directory) if stored.finished else None
            spent += time.monotonic() - begun
            if number % PORTION == 0:
                self._stopped.wait(spent * (1 / share - 1))
                spent = 0.0
            if self._stopped.is_set():
                return
            if identity is not None:
                yield stored.directory, identity
            begun = time.monotonic()

    def _identity(self, directory: str) -> Identity | None:
        try:
            return identity_at(directory)
        except FileNotFoundError:
            return None  # somebody was quicker
        except OSError as problem:
            self._complain(directory, problem)
            return None

    def _erase(self, directory: str, reason: Reason) -> Erased | None:
        try:
            return self._eraser.erase(Path(directory), reason)
        except (OSError, RecursionError) as problem:  # somebody may have put a thousand folders into each other
            self._complain(directory, problem)
            return None

    def _complain(self, directory: str, problem: Exception) -> None:
        """Say what is wrong with a folder, once."""
        if directory not in self._complained and len(self._complained) < COMPLAINTS:
            self._complained.add(directory)
            log.error("folder_not_erased", directory=directory, problem=str(problem))

    def _now(self) -> float:
        """Seconds since 1970. A clock that is set forward while this process runs makes nothing older."""
        return min(time.time(), self._began + time.monotonic())
