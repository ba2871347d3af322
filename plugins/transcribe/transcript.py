"""The transcript of a stream: ``transcript.jsonl`` while it lives, ``transcript.vtt`` and ``transcript.txt`` after.

A line is in the kernel's hands within 20 ms of being final. What a crash leaves of the first file makes the other two.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path

import msgspec

from receiver import files
from receiver.sinks import Stream

from .line import Line, sayable
from .webvtt import in_order, webvtt

NAME = "transcript.jsonl"
VTT = "transcript.vtt"
TXT = "transcript.txt"


_read_line = msgspec.json.Decoder(Line).decode  # made before there are threads that read


class Transcript:
    """``transcript.jsonl`` of a live stream. Made by ``open``."""

    def __init__(self, file: files.File, numbers: Counter[str]) -> None:
        self.numbers = numbers
        """The last utterance of each track that earlier runs of the sink have written."""
        self._file = file

    @classmethod
    def open(cls, directory: Path) -> Transcript:
        """Begin the file, or go on with that of a run which has failed. Blocks. Raises OSError."""
        path = directory / NAME
        if not path.exists():
            return cls(files.create(path), Counter())
        mend(path)
        numbers: Counter[str] = Counter()
        for line in read(path):
            numbers[line.track] = max(numbers[line.track], line.utterance)
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return cls(files.adopt(os.open(path, flags), path), numbers)

    def append(self, line: Line) -> None:
        """Put down a line. Never waits. Raises files.FileError where the disk did not take earlier ones."""
        self._file.append(msgspec.json.encode(line) + b"\n")

    def close(self) -> Future[int]:
        """Have everything written. Never waits; the future resolves when it is, or raises files.FileError."""
        return self._file.close()


def finish(stream: Stream) -> None:
    """Make the other two files of what is there, and declare all three. Blocks. Raises OSError.

    A line that a crash has torn is cut off. A second time changes nothing.
    """
    path = stream.directory / NAME
    mend(path)
    lines = read(path)
    stream.add_file(path, kind="transcript", media_type="application/jsonl")
    for name, text, media_type in ((VTT, webvtt(lines), "text/vtt"), (TXT, readable(lines), "text/plain")):
        _write(stream.directory / name, text.encode())
        stream.add_file(stream.directory / name, kind="transcript", media_type=media_type)


def recover(stream: Stream) -> None:
    """Finish the transcript of a stream that a crash has ended, if there is one. Blocks. Raises OSError."""
    if (stream.directory / NAME).is_file():
        finish(stream)


def readable(lines: Iterable[Line]) -> str:
    """Who said what, and when, a line for each: what ``transcript.txt`` holds."""
    ordered = [line for line in in_order(lines) if line.text or line.error]
    width = max((len(sayable(line.track)) for line in ordered), default=0)
    return "".join(f"{stamp(line.start_s):>5}  {sayable(line.track):{width}}  {_said(line)}\n" for line in ordered)


def stamp(seconds: float) -> str:
    """Minutes and seconds, e.g. ``0:05``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def read(path: Path) -> list[Line]:
    """The lines of a file. What is no line, as a damaged disk may have it, is passed over. Blocks. Raises OSError."""
    lines = []
    with path.open("rb") as content:
        for text in content:
            try:
                lines.append(_read_line(text))
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
    return lines


def mend(path: Path) -> None:
    """Cut off a last line that was not written to its end. Blocks. Raises OSError."""
    with path.open("r+b") as content:
        text = content.read()
        whole = text.rfind(b"\n") + 1
        if whole != len(text):
            content.truncate(whole)
            os.fsync(content.fileno())


def _said(line: Line) -> str:
    return sayable(line.text) if line.error is None else f"[{sayable(line.error)}]"


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; one that says the same already is left alone."""
    if path.is_file() and path.read_bytes() == content:
        return
    part = path.with_name(f"{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    os.replace(part, path)
