from __future__ import annotations

import io
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from receiver.events import Annotation, Cause
from receiver.inspection.report import GapFigures, Report
from receiver.inspection.terminal import MAX_LINES, print_report


def printed(report: Report, width: int = 80, *, terminal: bool = False, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    console = Console(file=out, width=width, force_terminal=terminal, highlight=False, emoji=False, _environ={})
    print_report(report, console)
    out.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [40, 80, 132])
def test_no_line_is_wider_than_the_terminal_and_there_are_no_colours_elsewhere(
    width: int, lab: ModuleType, tmp_path: Path
) -> None:
    text = printed(lab.report(lab.whole(tmp_path)), width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text and "\r" not in text


def test_sentences_go_on_below_their_beginning_and_no_picture_ends_in_spaces(lab: ModuleType, tmp_path: Path) -> None:
    lines = printed(lab.report(lab.whole(tmp_path, resolution_ms=60)), 50).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("  gaps: "))
    assert lines[at + 1].startswith("  ") and lines[at + 1].strip()
    assert not any(line != line.rstrip() for line in lines[lines.index("inbound") : at + 2])


def test_everything_is_in_it(lab: ModuleType, tmp_path: Path) -> None:
    text = printed(lab.report(lab.whole(tmp_path)))
    for words in (
        "a.jsonl\n", "  state         ended\n", "duration, s", "media messages", "   gaps ", "    odd ", " digits ",
        "  marks ", "gaps: L lost", "\ndigits\n       0.22 s  5\n", "\nmarks\n       0.60 s  1  greeting\n",
        "0.20 s  0.060 s lost on inbound", "line 53, 0.500 s, 9 bytes: not JSON (character 1)",
        "spacing of arrival, inbound, ms\n", "jitter, outbound: ms later than the least delayed packet",
    ):  # fmt: skip
        assert words in text, words
    assert "     19 - 21    " in text and "█ 4" in text  # the bars of a histogram and their counts


def test_a_peers_text_does_nothing_but_stand_there(lab: ModuleType, tmp_path: Path) -> None:
    text = printed(lab.report(lab.whole(tmp_path)), 200, terminal=True)
    assert "[red]<b>hi</b>[/red] \\x1b[31m\\u202eright" in text
    assert "\x1b[31m\u202e" not in text and "\x1b[" in text


def test_on_a_terminal_there_are_colours(lab: ModuleType, tmp_path: Path) -> None:
    assert "\x1b[" in printed(lab.report(lab.whole(tmp_path)), terminal=True)


def test_an_output_without_blocks_gets_ascii(lab: ModuleType, tmp_path: Path) -> None:
    text = printed(lab.report(lab.whole(tmp_path)), encoding="ascii")
    assert text.isascii() and "##" in text


def test_long_lists_are_cut_and_say_so(lab: ModuleType, tmp_path: Path) -> None:
    found = lab.report(lab.whole(tmp_path))
    found.tracks["outbound"].gaps.extend(GapFigures(1.0, 2.0, Cause.LOST) for _ in range(50))
    text = printed(found)
    assert text.count("lost on outbound") == MAX_LINES - 1 and "and 31 more: --json has them" in text


def test_a_recording_says_what_it_does_not_know(lab: ModuleType, tmp_path: Path) -> None:
    recording = lab.recorded(tmp_path)
    recording.annotate(Annotation("said", "inbound", 0, 10, 8000, {"text": "[b]\x1b"}, "ear"))
    text = printed(lab.report(lab.finish(recording)))
    assert "\nnot known\n  when messages arrived: spacing and jitter\n" in text
    assert '"data":{"text":"[b]\\u001b"}' in text.replace("\n", "") and "spacing of arrival" not in text


def test_many_tracks_have_several_tables(lab: ModuleType, tmp_path: Path) -> None:
    names = [f"t{number}" for number in range(7)]
    entries = lab.opening(*names)
    for name in names:
        entries += lab.packets([1, 2], track=name)
    text = printed(lab.report(lab.capture(tmp_path / "a.jsonl", sorted(entries, key=lambda entry: entry[0]))))
    assert text.count("media messages") == 3 and max(map(len, text.splitlines())) <= 80


def test_an_empty_capture_is_printed(lab: ModuleType, tmp_path: Path) -> None:
    assert "there is no start message" in printed(lab.report(lab.capture(tmp_path / "a.jsonl", [])))
