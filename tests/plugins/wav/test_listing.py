"""Files of a folder by their names."""

from pathlib import Path

import pytest
from receiver_plugins.wav.listing import matching


def test_files_that_match_come_in_order(tmp_path: Path) -> None:
    for name in ("b.wav", "a.wav", "a.wav.part", "A.WAV", "c.opus"):
        (tmp_path / name).touch()
    assert [path.name for path in matching(tmp_path, "*.wav")] == ["a.wav", "b.wav"]
    assert matching(tmp_path, "*.wav.part") == [tmp_path / "a.wav.part"]
    assert matching(tmp_path, "*.mp3") == []


def test_a_folder_that_cannot_be_read_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        matching(tmp_path / "none", "*.wav")
