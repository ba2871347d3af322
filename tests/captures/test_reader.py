"""Reading captures: whole, growing, cut anywhere, compressed, damaged."""

from __future__ import annotations

import gzip
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.captures import reader as module
from receiver.captures.capture import Batch, CaptureError, End, Entry, Header, Pause
from receiver.captures.reader import MAX_BATCH_BYTES, MAX_LINE_BYTES, CaptureReader, NoHeader
from receiver.events import EndReason

TextOf = Callable[..., bytes]
HEADER = b'{"version":1}\n'


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(data: bytes, name: str = "capture.jsonl") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def spread(entries: list[Entry]) -> list[Any]:
    """One item per message, pause or end, however they are batched."""
    return [
        item
        for entry in entries
        for item in ([(entry.at, one) for one in entry.data] if isinstance(entry, Batch) else [entry])
    ]


def test_messages_of_one_time_come_together(write: Callable[..., Path], text_of: TextOf) -> None:
    said = [Batch(0.5, ["{}", "no json", b"\x00", 12]), Pause(0.5, None), Batch(0.5, ["{}"]), Batch(0.6, [3, 4])]
    entries = [*said, Pause(0.6, ()), End(0.7, EndReason.CLOSE, 1000, "bye")]
    with CaptureReader(write(text_of(entries, Header(version=1, source="here")))) as reader:
        assert reader.header.source == "here"
        assert list(reader) == entries
        assert reader.read() is None


CONTENT: list[Entry] = [
    Batch(0.0, ['{"event":"connected"}', '{"event":"start"}']),
    Batch(0.06, ['{"a":"\u00fc\u2028"}', "\x00\n", b"\n\xff"]),
    Pause(0.07, ("inbound",)),
    Batch(0.12, [330]),
    Pause(0.13, ()),
    End(0.2, EndReason.CLOSE, 1000, "bye"),
]


@settings(deadline=None)
@given(st.data())
def test_cut_at_any_byte_a_capture_gives_the_beginning_of_its_entries(text_of: TextOf, data: st.DataObject) -> None:
    text = text_of(CONTENT)
    cut = data.draw(st.integers(text.index(b"\n") + 1, len(text)))
    zipped = data.draw(st.booleans())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("a.jsonl.gz" if zipped else "a.jsonl")
        path.write_bytes(gzip.compress(text[:cut]) if zipped else text[:cut])
        with CaptureReader(path) as reader:
            found = spread(list(reader))
    whole = text[:cut].count(b"\n") - 1
    assert found == spread(CONTENT)[:whole]


def test_a_gz_cut_at_any_byte_gives_the_beginning_as_well(tmp_path: Path, text_of: TextOf) -> None:
    text = gzip.compress(text_of(CONTENT), mtime=0)
    path, counts = tmp_path / "a.jsonl.gz", []
    for cut in range(len(text) + 1):
        path.write_bytes(text[:cut])
        try:
            with CaptureReader(path) as reader:
                found = spread(list(reader))
                assert reader.read() is None
        except CaptureError as problem:
            assert isinstance(problem, NoHeader) or cut == 1  # half of what says that it is a .gz
            found = []
        assert found == spread(CONTENT)[: len(found)]
        counts.append(len(found))
    assert counts == sorted(counts)
    assert counts[-1] == len(spread(CONTENT))


def test_a_capture_is_read_while_it_is_written(tmp_path: Path, text_of: TextOf) -> None:
    text = text_of(CONTENT)
    head = text.index(b"\n") + 1
    path = tmp_path / "a.jsonl"
    with path.open("wb", buffering=0) as file:
        file.write(text[:head])
        with CaptureReader(path) as reader:
            found: list[Entry] = []
            for byte in text[head:]:
                assert reader.read() is None or found
                file.write(bytes([byte]))
                found += list(reader)
            assert spread(found) == spread(CONTENT)


def test_position_is_how_far_into_the_file_it_has_read(write: Callable[..., Path], text_of: TextOf) -> None:
    text = text_of(CONTENT)
    for path in (write(text), write(gzip.compress(text), "a.jsonl.gz")):
        with CaptureReader(path) as reader:
            assert 0 < reader.position() <= path.stat().st_size
            list(reader)
            assert reader.position() == path.stat().st_size


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'[0.1,"q",1]', 'line 4: cannot be read: unknown code "q"'),
        (b'[0.1,"m",{"event":"me[0.1,"m",{}]', "line 4: cannot be read"),
        (b"", "line 4: is not"),
        (b'[0.1,"m",{"a":"\xff"}]', "line 4: cannot be read: 'utf-8'"),
        (b"a" * (MAX_LINE_BYTES + 1), f"line 4: is longer than {MAX_LINE_BYTES} bytes"),
    ],
    ids=["code", "torn", "empty", "not utf-8", "huge"],
)
def test_a_broken_line_is_named_once_everything_before_it_has_been_given(
    write: Callable[..., Path], line: bytes, problem: str
) -> None:
    path = write(HEADER + b'[0.1,"t","a"]\n[0.1,"t","b"]\n' + line + b'\n[0.1,"t","c"]\n')
    with CaptureReader(path) as reader:
        assert reader.read() == Batch(0.1, ["a", "b"])
        for _ in range(2):
            with pytest.raises(CaptureError, match=problem) as caught:
                reader.read()
            assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("data", "name", "problem"),
    [
        (b"", "a.jsonl", "has no whole line"),
        (b'{"version":1}', "a.jsonl", "has no whole line"),
        (b"", "a.jsonl.gz", "has no whole line"),
        (b'{"version":7}\n', "a.jsonl", "has version 7, and this reads version 1"),
        (b"RIFF\xff\xff\xff\xffWAVE\n", "a.jsonl", "is no capture"),
        (HEADER, "a.jsonl.gz", "Not a gzipped file"),
        (gzip.compress(HEADER)[:10] + b"\xff" * 20, "a.jsonl.gz", "line 1"),
        (b"a" * (MAX_LINE_BYTES + 1), "a.jsonl", "is longer than"),
    ],
    ids=["empty", "cut", "empty gz", "version", "a wav", "no gz", "bad gz", "huge"],
)
def test_what_is_no_capture_is_named(write: Callable[..., Path], data: bytes, name: str, problem: str) -> None:
    path = write(data, name)
    with pytest.raises(CaptureError, match=problem) as caught:
        CaptureReader(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"nothing\.jsonl: No such file"):
        CaptureReader(tmp_path / "nothing.jsonl")
    with pytest.raises(CaptureError, match="Is a directory"):
        CaptureReader(tmp_path)


def test_a_damaged_gz_gives_what_comes_before_the_damage(write: Callable[..., Path], text_of: TextOf) -> None:
    text = gzip.compress(text_of(CONTENT), mtime=0)
    with CaptureReader(write(text[:-8] + bytes(8), "a.jsonl.gz")) as reader:
        found = []
        with pytest.raises(CaptureError, match="line 11: CRC check failed"):
            while (entry := reader.read()) is not None:
                found.append(entry)
    assert found == CONTENT


def test_a_million_messages_of_one_time_are_not_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(HEADER + b'[0,"t","' + b"a" * 1000 + b'"]\n')
        file.write(b'[0,"t",""]\n' * 50_000)
    with CaptureReader(path) as reader:
        sizes = [len(entry.data) for entry in reader if isinstance(entry, Batch)]
    assert sum(sizes) == 50_001
    assert max(sizes) * module.MESSAGE_BYTES <= MAX_BATCH_BYTES + module.MESSAGE_BYTES


def test_it_closes_its_file(write: Callable[..., Path], text_of: TextOf) -> None:
    with CaptureReader(write(text_of(CONTENT))) as reader:
        file: io.BufferedReader = reader._file  # type: ignore[assignment]
    assert file.closed
