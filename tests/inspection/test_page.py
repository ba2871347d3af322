from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from receiver.events import Annotation
from receiver.inspection.page import MAX_ROWS, render
from receiver.inspection.report import JumpFigures, MarkFigures, Report

HOSTILE = "</td><script>alert(1)</script>\"' onload=x & \x1b[31m\u202e"
VOID = {"meta", "br", "img", "link"}


class Page(HTMLParser):
    """A page, read: that every tag is closed, which there are, and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page(report: Report, picture: str = "<svg></svg>") -> Page:
    return Page(render(report, picture).decode())


def test_everything_is_on_the_page(lab: ModuleType, tmp_path: Path) -> None:
    texts = page(lab.report(lab.whole(tmp_path, resolution_ms=60))).texts
    for text in (
        "L16 8000 Hz, 1 channel", "+15550100", "Tracks", "media messages", "Digits", "0.22", "Marks", "greeting",
        "Gaps", "0.060", "lost", "Duplicate, late and reordered messages", "duplicate",
        "Messages that could not be used", "not JSON (character 1)",
    ):  # fmt: skip
        assert text in texts, text
    assert any(text.startswith("Messages were read every 60 ms") for text in texts)


def test_a_peers_words_are_text_and_nothing_else(lab: ModuleType, tmp_path: Path) -> None:
    entries = [
        *lab.opening("inbound", customParameters={HOSTILE: HOSTILE}), *lab.packets([1]), (0.1, lab.mark(HOSTILE)),
        (0.2, "<script>{"), lab.END,
    ]  # fmt: skip
    found = lab.report(lab.capture(tmp_path / "a<b>.jsonl", entries, headers=((HOSTILE, HOSTILE),), token=HOSTILE))
    read = page(found)
    assert "script" not in read.tags
    assert not any(name.startswith("on") for name, _ in read.attributes)
    shown = "</td><script>alert(1)</script>\"' onload=x & \\x1b[31m\\u202e"
    assert read.texts.count(shown) == 3  # the parameter, the header, the mark
    assert "\u202e" not in "".join(read.texts) and "\x1b" not in "".join(read.texts)


def test_it_loads_nothing_and_forbids_to(lab: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from receiver.inspection.plot import svg

    found = lab.report(lab.whole(tmp_path))
    read = page(found, svg(found))
    policy = [value for name, value in read.attributes if name == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policy
    assert not read.tags & {"script", "link", "img", "iframe", "image", "object", "base"}
    for name, value in read.attributes:
        if name in ("src", "href", "xlink:href", "action"):
            assert value is not None and value.startswith("#")
    assert "@import" not in "".join(read.texts)
    assert {"svg", "table"} <= read.tags


def test_a_recording_has_its_annotations_and_what_is_not_known(lab: ModuleType, tmp_path: Path) -> None:
    recording = lab.recorded(tmp_path)
    recording.annotate(Annotation("said", "inbound", 0, 10, 8000, {"text": "<i>"}, "ear"))
    read = page(lab.report(lab.finish(recording)))
    assert "Not known" in read.texts and "i" not in read.tags
    assert any('{"text":"<i>"}' in text for text in read.texts)


def test_jumps_of_the_peers_clock_are_listed(lab: ModuleType, tmp_path: Path) -> None:
    found = lab.report(lab.whole(tmp_path))
    found.tracks["inbound"].discontinuities.append(JumpFigures(0.4, 380, None))
    texts = page(found).texts
    at = texts.index("Jumps of the peer's clock")
    assert [text for text in texts[at + 1 : at + 12] if text.strip()] == [
        "s", "from, ms", "to, ms", "track", "0.400", "380", "no stamp", "inbound",
    ]  # fmt: skip


def test_long_tables_are_cut_and_say_so(lab: ModuleType, tmp_path: Path) -> None:
    found = lab.report(lab.whole(tmp_path))
    found.marks += [MarkFigures(1.0, "again")] * (MAX_ROWS + 4)
    texts = page(found).texts
    assert texts.count("again") == MAX_ROWS - 1 and "And 5 more." in texts


def test_an_empty_capture_has_a_page(lab: ModuleType, tmp_path: Path) -> None:
    assert "Tracks" not in page(lab.report(lab.capture(tmp_path / "a.jsonl", []))).texts
