"""Captions that a program which knows nothing of us can read, whatever was said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from receiver_plugins.transcribe.line import Line, line
from receiver_plugins.transcribe.webvtt import webvtt

RATE = 16_000


def said(text: str, start_s: float, end_s: float, track: str = "inbound", **more: Any) -> Line:
    return line(track, 8000, (round(start_s * RATE), round(end_s * RATE)), utterance=1, text=text, **more)


def test_each_line_is_a_cue_with_its_voice() -> None:
    text = webvtt([said("Good morning.", 1, 2.5), said("Hello", 3661.25, 3662.0009, "outbound")])
    assert text == (
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\n<v inbound>Good morning.\n\n"
        "01:01:01.250 --> 01:01:02.001\n<v outbound>Hello\n"
    )


def test_cues_are_in_the_order_of_their_time_also_at_different_rates() -> None:
    late = line("outbound", 48_000, (2 * RATE, 3 * RATE), utterance=1, text="late")
    text = webvtt([late, said("early", 1.5, 4)])
    assert text.index("early") < text.index("late")


def test_a_span_that_was_not_transcribed_is_no_cue() -> None:
    assert webvtt([said("", 1, 2, error="it died")]) == "WEBVTT\n"


@pytest.mark.parametrize(
    "text",
    [
        "a --> b",
        "00:00:01.000 --> 00:00:02.000",
        "less < more > and & so &lt;",
        "two\n\nlines",
        "WEBVTT",
        "NOTE nothing",
        "</v><b>bold",
        "größer → 漢字",
    ],
)
def test_ffmpeg_reads_back_what_was_said(booth: Any, tmp_path: Path, text: str) -> None:
    file = tmp_path / "transcript.vtt"
    file.write_text(webvtt([said(text, 1, 2), said("behind it", 2, 3, "out>bound & <co>\n")]))
    first, second = booth.by_ffmpeg(file)
    assert (first[0], second[0]) == ("00:00:01,000 --> 00:00:02,000", "00:00:02,000 --> 00:00:03,000")
    assert first[1] == " ".join(text.split())
    assert second[1].endswith("behind it")
    assert all("-->" not in line for line in file.read_text().splitlines() if line.startswith("<v"))


def test_a_cue_without_a_length_has_one(booth: Any, tmp_path: Path) -> None:
    file = tmp_path / "transcript.vtt"
    file.write_text(webvtt([said("now", 1, 1)]))
    assert booth.by_ffmpeg(file)[0][0] == "00:00:01,000 --> 00:00:01,001"
