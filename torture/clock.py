"""The wall clock of one program, put forward and back while it runs, by libfaketime. The monotonic one goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from outcome import CannotRun

LIBRARY = "libfaketimeMT.so.1"
PLACES = ("/usr/lib", "/usr/local/lib", "/usr/lib64")


class Clock:
    """The clock of programs that run with ``environ``. Raises CannotRun without libfaketime."""

    def __init__(self, file: Path) -> None:
        library = next(_libraries(), None)
        if library is None:
            raise CannotRun("libfaketime is needed: on Debian, apt-get install libfaketime")
        self._file = file
        self.ahead_s = 0.0
        self.step(0)
        self.environ = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",  # a clock that is put right changes no file's time
        }

    def step(self, ahead_s: float) -> None:
        """From now on it is so many seconds ahead of the true time."""
        self.ahead_s = ahead_s
        self._write(f"{ahead_s:+.0f}")

    def stop_at(self, moment: str) -> None:
        """From now on it stands still, at ``YYYY-MM-DD hh:mm:ss``."""
        self._write(moment)

    def _write(self, text: str) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{text}\n")
        os.replace(new, self._file)


def _libraries() -> Iterator[Path]:
    for place in PLACES:
        yield from Path(place).glob(f"**/faketime/{LIBRARY}")
