"""What a sink is given beside the events, and what it may say about the stream."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from receiver.audio import AudioFormat, Encoding
from receiver.errors import ReceiverError
from receiver.events import Annotation, Passing
from receiver.stream import Stream, StreamClosed, StreamFacts

FACTS = StreamFacts(
    id="0199-ours",
    source="default",
    dialect="signalwire",
    stream_id="../theirs",
    call_id="call",
    account_id=None,
    tracks=("inbound",),
    format=AudioFormat(Encoding.PCMU, 8000),
    parameters={"consent": "yes"},
    path_parameters={},
    peer_address="192.0.2.1",
    token="main",
    started=datetime(2026, 11, 21, tzinfo=UTC),
)


class Owner:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.annotations: list[Annotation] = []
        self.files: list[tuple[Path, str, str, str]] = []

    def annotated(self, annotation: Annotation) -> None:
        self.annotations.append(annotation)

    def file_added(self, path: Path, kind: str, media_type: str, sink: str) -> None:
        self.files.append((path, kind, media_type, sink))


def test_the_facts_that_every_sink_wants_are_at_hand(tmp_path: Path) -> None:
    stream = Stream(FACTS, tmp_path, Owner(), "mine")
    assert (stream.id, stream.call_id, stream.sink) == ("0199-ours", "call", "mine")
    assert stream.format == AudioFormat(Encoding.PCMU, 8000)
    assert stream.parameters == {"consent": "yes"}
    assert stream.facts is FACTS and stream.directory == tmp_path


def test_an_annotation_carries_its_sinks_name(tmp_path: Path) -> None:
    owner = Owner()
    stream = Stream(FACTS, tmp_path, owner, "mine")
    stream.annotate("word", start=80, end=160, rate=8000, track="inbound", data={"text": "hello"})
    stream.annotate("call", start=0, end=1, rate=16000)
    assert owner.annotations == [
        Annotation("word", "inbound", 80, 160, 8000, {"text": "hello"}, "mine"),
        Annotation("call", None, 0, 1, 16000, None, "mine"),
    ]


def test_what_is_not_to_be_kept_says_so(tmp_path: Path) -> None:
    owner = Owner()
    stream = Stream(FACTS, tmp_path, owner, "mine")
    stream.annotate("word", start=80, end=160, rate=8000, kept=False)
    stream.annotate("word", start=80, end=160, rate=8000)
    assert [type(one) for one in owner.annotations] == [Passing, Annotation]


def test_positions_may_be_any_whole_number_and_are_plain_ones_afterwards(tmp_path: Path) -> None:
    owner = Owner()
    stream = Stream(FACTS, tmp_path, owner, "mine")
    stream.annotate("word", start=np.int64(80), end=np.int32(160), rate=np.uint16(8000))
    stream.annotate("point", start=0, end=0, rate=1)
    (word, point) = owner.annotations
    assert [type(value) for value in (word.start, word.end, word.rate)] == [int, int, int]
    assert (word.start, word.end, word.rate) == (80, 160, 8000)
    assert (point.start, point.end, point.rate) == (0, 0, 1)


@pytest.mark.parametrize("field", ["start", "end", "rate"])
@pytest.mark.parametrize("value", [0.5, 1.0, np.float64(2), "1", None, float("nan")])
def test_samples_are_whole_numbers(tmp_path: Path, field: str, value: Any) -> None:
    owner = Owner()
    span: dict[str, Any] = {"start": 0, "end": 8000, "rate": 8000, field: value}
    with pytest.raises(TypeError, match=f"'word': {field} is a .*samples are whole numbers"):
        Stream(FACTS, tmp_path, owner, "mine").annotate("word", **span)
    assert owner.annotations == []


@pytest.mark.parametrize(("start", "end", "rate"), [(-1, 1, 8000), (2, 1, 8000), (0, 1, 0), (0, 1, -8000)])
def test_a_span_that_cannot_be_is_refused_with_its_figures(tmp_path: Path, start: int, end: int, rate: int) -> None:
    owner = Owner()
    with pytest.raises(ValueError, match=f"annotation 'word': start={start}, end={end}, rate={rate}: must be"):
        Stream(FACTS, tmp_path, owner, "mine").annotate("word", start=start, end=end, rate=rate)
    assert owner.annotations == []


@pytest.mark.parametrize(
    ("kind", "track", "error", "said"),
    [
        ("", None, ValueError, "an annotation's kind has 1 to 100 characters, not 0"),
        ("k" * 101, None, ValueError, "not 101"),
        (None, None, TypeError, "an annotation's kind is text, not NoneType"),
        (b"word", None, TypeError, "not bytes"),
        ("word", 1, TypeError, "annotation 'word': the track is text or None, not int"),
    ],
)
def test_a_kind_is_a_short_text_and_a_track_a_text(
    tmp_path: Path, kind: Any, track: Any, error: type[Exception], said: str
) -> None:
    owner = Owner()
    with pytest.raises(error, match=said):
        Stream(FACTS, tmp_path, owner, "mine").annotate(kind, start=0, end=1, rate=8000, track=track)
    assert owner.annotations == []


@pytest.mark.parametrize(
    ("name", "kind", "media_type", "error", "said"),
    [
        (1, "text", "text/plain", TypeError, "int"),
        ("a\0b", "text", "text/plain", ValueError, "null character"),
        ("a.txt", None, "text/plain", TypeError, "a file's kind is text, not NoneType"),
        ("a.txt", "", "text/plain", ValueError, "a file's kind has 1 to 100 characters, not 0"),
        ("a.txt", "text", b"text/plain", TypeError, "a file's media type is text, not bytes"),
        ("a.txt", "text", "t" * 101, ValueError, "a file's media type has 1 to 100 characters, not 101"),
    ],
)
def test_a_file_that_cannot_be_listed_is_refused_and_says_why(
    tmp_path: Path, name: Any, kind: Any, media_type: Any, error: type[Exception], said: str
) -> None:
    owner = Owner()
    path = f"{tmp_path}/{name}" if isinstance(name, str) else name
    with pytest.raises(error, match=said):
        Stream(FACTS, tmp_path, owner, "mine").add_file(path, kind=kind, media_type=media_type)
    assert owner.files == []


def test_a_path_may_be_text(tmp_path: Path) -> None:
    owner = Owner()
    stream = Stream(FACTS, tmp_path, owner, "mine")
    stream.add_file(f"{tmp_path}/a.txt", kind="text", media_type="text/plain")
    assert owner.files == [(tmp_path / "a.txt", "text", "text/plain", "mine")]
    with pytest.raises(ValueError, match="is not in the stream's directory"):
        stream.add_file("/etc/passwd", kind="text", media_type="text/plain")


@pytest.mark.parametrize("name", ["a.txt", "deep/er/a.txt", "deep/../a.txt", "..a", "a..b"])
def test_a_file_below_the_directory_is_passed_on(tmp_path: Path, name: str) -> None:
    owner = Owner()
    Stream(FACTS, tmp_path, owner, "mine").add_file(tmp_path / name, kind="text", media_type="text/plain")
    assert owner.files == [(tmp_path / name, "text", "text/plain", "mine")]


@pytest.mark.parametrize("name", ["../a.txt", "deep/../../a.txt", "/etc/passwd", "../{}-and-more/a.txt"])
def test_a_file_elsewhere_is_refused_and_named(tmp_path: Path, name: str) -> None:
    owner = Owner()
    path = tmp_path / name.format(tmp_path.name)
    with pytest.raises(ValueError, match="is not in the stream's directory") as refused:
        Stream(FACTS, tmp_path, owner, "mine").add_file(path, kind="text", media_type="text/plain")
    assert str(path) in str(refused.value)
    assert owner.files == []


def test_relative_paths_are_compared_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    owner = Owner()
    relative = Stream(FACTS, Path("stream"), owner, "mine")
    relative.add_file(tmp_path / "stream" / "a.txt", kind="text", media_type="text/plain")
    with pytest.raises(ValueError, match="not in the stream's directory"):
        relative.add_file(Path("a.txt"), kind="text", media_type="text/plain")
    assert [os.path.basename(path) for path, *_ in owner.files] == ["a.txt"]


def test_after_its_sink_has_returned_nothing_can_be_said(tmp_path: Path) -> None:
    owner, closed = Owner(), False
    stream = Stream(FACTS, tmp_path, owner, "mine", closed=lambda: closed)
    stream.annotate("before", start=0, end=1, rate=8000)
    closed = True
    with pytest.raises(StreamClosed, match="sink mine has returned from stream 0199-ours"):
        stream.annotate("after", start=0, end=1, rate=8000)
    with pytest.raises(StreamClosed):
        stream.add_file(tmp_path / "a.txt", kind="text", media_type="text/plain")
    assert issubclass(StreamClosed, ReceiverError)
    assert [annotation.kind for annotation in owner.annotations] == ["before"] and owner.files == []
    assert stream.id == "0199-ours"  # the facts stay


def test_a_sink_may_hold_the_folder_by_a_file_that_anybody_can_remove(tmp_path: Path) -> None:
    stream = Stream(FACTS, tmp_path, Owner(), "cloud")
    path = stream.hold()
    assert path == tmp_path / "cloud.pending" and path.read_bytes() == b""
    assert path.stat().st_mode & 0o777 == 0o600
    assert stream.hold() == path
    path.unlink()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_held_through_a_link_or_after_the_sink_has_returned(tmp_path: Path) -> None:
    (tmp_path / "cloud.pending").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        Stream(FACTS, tmp_path, Owner(), "cloud").hold()
    with pytest.raises(StreamClosed):
        Stream(FACTS, tmp_path, Owner(), "mail", closed=lambda: True).hold()
    assert [path.name for path in tmp_path.iterdir()] == ["cloud.pending"]
