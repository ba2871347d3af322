"""What a sink is given beside the events, and what it may say about the stream."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from receiver.audio import AudioFormat, Encoding
from receiver.errors import ReceiverError
from receiver.events import Annotation
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
