"""The open files of a stream; what readers find in them is tested with the whole plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from receiver_plugins.wav.figures import Figures
from receiver_plugins.wav.format import HEADER_BYTES
from receiver_plugins.wav.losses import Losses
from receiver_plugins.wav.rotation import Rotation
from receiver_plugins.wav.tracks import Behind, Tracks

from receiver.events import Cause, Digit, Gap


def opened(studio: Any, folder: Path, *announced: str, **options: Any) -> tuple[Tracks, list[Behind]]:
    """Tracks that are cut every 100 samples, and what is told of them."""
    stream, _ = studio.stream_in(folder, tracks=announced)
    told: list[Behind] = []
    return Tracks(stream, Rotation(1, 0), Losses(stream, Figures()), told.append, **options), told


def names(behind: Behind) -> list[str]:
    return [written.file.path.name for written in behind.files]


def test_a_track_has_a_file_from_its_first_audio_on_or_for_its_gaps_alone(studio: Any, tmp_path: Path) -> None:
    tracks, told = opened(studio, tmp_path)
    for event in [*studio.frames("inbound", studio.noise(160)), Gap("outbound", 0, 80, 8000, Cause.LOST)]:
        tracks.take(event)
    tracks.take(Digit("5", 160, 8000))
    last = tracks.close()
    assert (names(last), last.settled, last.both) == (["inbound.wav.part", "outbound.wav.part"], None, True)
    assert [written.file.close().result(20) for written in last.files] == [HEADER_BYTES + 320, HEADER_BYTES + 160]
    assert [written.file.path.stat().st_size for written in last.files] == [HEADER_BYTES + 320, HEADER_BYTES + 160]
    assert told == [] and tracks.close().files == ()  # once is enough


def test_what_both_sides_are_past_is_settled_and_one_that_was_announced_is_waited_for(
    studio: Any, tmp_path: Path
) -> None:
    tracks, told = opened(studio, tmp_path, "inbound", "outbound")
    said = studio.noise(250)
    for event in studio.frames("inbound", said, rate=100):
        tracks.take(event)
    assert [(names(behind), behind.settled, behind.both) for behind in told] == [
        (["inbound.wav.part"], 0, False),
        (["inbound@100.wav.part"], 0, False),
    ]
    told.clear()
    for event in studio.frames("outbound", said, rate=100, size=100):
        tracks.take(event)
    tracks.take(Gap("outbound", 250, 950, 100, Cause.UNSENT))
    tracks.take(Gap("outbound", 950, 1050, 100, Cause.UNSENT))  # past another cut, which settles nothing more
    assert [(names(behind), behind.settled, behind.both) for behind in told] == [
        (["outbound.wav.part"], 1, True),
        (["outbound@100.wav.part"], 2, True),
        (["outbound@200.wav.part"], 2, True),
    ]
    assert names(tracks.close()) == ["inbound@200.wav.part"]


def test_a_stream_with_one_side_does_not_wait_for_the_other(studio: Any, tmp_path: Path) -> None:
    tracks, told = opened(studio, tmp_path, "inbound")
    for event in studio.frames("inbound", studio.noise(160), rate=100):
        tracks.take(event)
    for event in studio.frames("mixed", studio.noise(160), rate=100):
        tracks.take(event)
    assert [(names(behind), behind.settled) for behind in told] == [(["inbound.wav.part"], 1), (["mixed.wav.part"], 1)]
    tracks.close()


def test_a_later_call_begins_its_files_where_its_audio_begins(studio: Any, tmp_path: Path) -> None:
    tracks, _ = opened(studio, tmp_path, resumed=True)
    tracks.take(Gap("inbound", 0, 130, 100, Cause.DROPPED))
    tracks.take(Gap("outbound", 0, 320, 100, Cause.DROPPED))
    tracks.take(Gap("inbound", 130, 140, 100, Cause.LOST))
    for event in [
        *studio.frames("inbound", studio.noise(10), 140, rate=100),
        *studio.frames("mixed", studio.noise(10), rate=100),
    ]:
        tracks.take(event)
    assert names(tracks.close()) == ["inbound@130.wav.part", "mixed.wav.part"]
