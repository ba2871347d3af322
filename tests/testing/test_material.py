from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from receiver.audio import Encoding
from receiver.events import Samples
from receiver.simulate import Call, CallError, Key
from receiver.testing.material import PlayOptions, as_call, speed_of


def call(what: Any, folder: Path, usual: str = "signalwire", **options: Any) -> Call:
    made = as_call(what, PlayOptions(**options), usual, folder)  # type: ignore[typeddict-item]  # any, on purpose
    assert isinstance(made, Call)
    return made


def test_a_file_is_the_inbound_side_of_a_call(speech: Path, tmp_path: Path) -> None:
    assert call(speech, tmp_path) == call(str(speech), tmp_path) == Call(inbound=speech)


def test_every_option_reaches_the_call(speech: Path, tmp_path: Path) -> None:
    made = call(
        speech,
        tmp_path,
        outbound=str(speech),
        codec="l16",
        rate=16000,
        packet_ms=40,
        byte_order="big",
        parameters={"a": "b"},
        digits="5@2.5",
        dialect="twilio",
        stop=False,
        call_id="CA1",
        stream_id="MZ1",
    )
    assert made == Call(
        inbound=speech,
        outbound=speech,
        encoding=Encoding.L16,
        rate=16000,
        packet_ms=40,
        byte_order="big",
        parameters={"a": "b"},
        keys=(Key("5", 2.5),),
        dialect="twilio",
        stop=False,
        call_id="CA1",
        stream_id="MZ1",
    )


def test_the_dialect_is_the_sources_unless_it_is_said(speech: Path, tmp_path: Path) -> None:
    assert call(speech, tmp_path, "twilio").dialect == "twilio"
    assert call(speech, tmp_path, "twilio", dialect="signalwire").dialect == "signalwire"


@pytest.mark.parametrize("kind", [np.int16, np.float32, np.float64])
def test_samples_are_written_as_they_are(tmp_path: Path, tone: Samples, kind: Any) -> None:
    scale = 1 if kind is np.int16 else 32768
    made = call(((tone / scale).astype(kind), 8000), tmp_path)
    assert made.inbound is not None and made.stereo is None
    written, rate = soundfile.read(made.inbound, dtype="float64")
    assert rate == 8000 and np.array_equal(written * 32768, tone)


def test_samples_of_two_channels_are_both_sides(tmp_path: Path, tone: Samples) -> None:
    made = call((np.stack((tone, tone), axis=1), 8000), tmp_path)
    assert made.stereo is not None and made.inbound is None
    assert soundfile.info(made.stereo).channels == 2


def test_both_sides_may_be_samples(tmp_path: Path, tone: Samples) -> None:
    made = call((tone, 8000), tmp_path, outbound=(tone[:80], 16000))
    assert made.inbound is not None and made.outbound is not None
    assert (soundfile.info(made.inbound).frames, soundfile.info(made.outbound).frames) == (4000, 80)


@pytest.mark.parametrize("name", ["capture.jsonl", "capture.jsonl.gz"])
def test_a_capture_is_played_as_it_is_and_from_where_and_how_fast_may_be_chosen(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    options = PlayOptions(speed=2, source="default", path="/x", token=None)
    assert as_call(path, options, "signalwire", tmp_path) == path
    with pytest.raises(CallError, match="codec, stop cannot be chosen"):
        as_call(path, PlayOptions(stop=False, codec="PCMU"), "signalwire", tmp_path)


@pytest.mark.parametrize(
    ("what", "options", "problem"),
    [
        ("a.wav", {"codec": "MP3"}, "codec 'MP3': known are PCMU, PCMA, L16, OPUS"),
        ("a.wav", {"digits": "x"}, "digits 'x'"),
        (np.zeros(8), {}, "samples need their rate"),
        ("a.wav", {"outbound": np.zeros(8)}, "samples need their rate"),
        ((np.zeros(8, np.int32), 8000), {}, "int32: must be int16"),
        ((np.zeros((8, 3), np.int16), 8000), {}, r"\(8, 3\): must be \(n,\)"),
    ],
)
def test_what_cannot_be_played_is_said(tmp_path: Path, what: Any, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(CallError, match=problem):
        call(what, tmp_path, **options)


def test_an_option_that_there_is_not_is_no_call(speech: Path, tmp_path: Path) -> None:
    with pytest.raises(
        TypeError, match="no option digit, sped; there are byte_order, call_id, codec, dialect, digits,"
    ):
        as_call(speech, {"digit": "5", "sped": 1}, "signalwire", tmp_path)  # type: ignore[typeddict-unknown-key]


def test_a_rate_that_is_none_is_said(tmp_path: Path, tone: Samples) -> None:
    with pytest.raises(CallError, match="samples at a rate of 0: must be above 0"):
        as_call((tone, 0), {}, "signalwire", tmp_path)


def test_speeds() -> None:
    assert speed_of({}) == math.inf == speed_of({"speed": "max"})
    assert speed_of({"speed": 2}) == 2
    wrong: Any
    for wrong in ("fast", 0, -1, math.nan):
        with pytest.raises(CallError, match=f"speed {wrong!r}: must be a number above 0, or 'max'"):
            speed_of({"speed": wrong})
