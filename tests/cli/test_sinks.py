"""What ``receiver sinks`` lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.cli.sinks import sinks


def install(folder: Path, distribution: str, entry_points: str) -> None:
    """What pip leaves behind of a distribution, as far as entry points go."""
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[receiver.sinks]\n{entry_points}\n")


def test_the_wav_plugin_is_listed_with_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    sinks()
    text = capsys.readouterr().out
    lines = text.splitlines()
    first = lines.index('wav  (media-stream-receiver)  use = "wav"')
    summary, *options = lines[first + 1 : lines.index("", first)]
    assert summary == "    Record streams as WAV files, and finish them as FLAC, Opus or MP3 if asked to."
    listed = {line.split()[0]: line for line in options}
    assert list(listed) == ["layout", "segment_s", "segment_bytes", "encoding", "bitrate_kbps", "keep_wav", "encoders"]
    assert listed["layout"].endswith("  default 'both'") and "separate" in listed["layout"]
    assert listed["encoding"].endswith("  default 'wav'") and "'opus'" in listed["encoding"]
    assert "Literal[32, 48, 64, 96, 128]" in listed["bitrate_kbps"]
    assert listed["segment_bytes"].endswith("  default 1073741824") and listed["encoders"].endswith("  default 1")
    assert "receiver serve --sink ./file.py" in text


def test_somebody_elses_sink_is_listed_beside_it_and_a_broken_one_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "acme-sinks", "acme = acme_sink:plugin\nbroken = no_such_module_anywhere:plugin")
    (tmp_path / "acme_sink.py").write_text(
        "from contextlib import asynccontextmanager\n\n"
        "@asynccontextmanager\n"
        "async def plugin(*, address: str, retries: int = 3):\n"
        "    yield print\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    sinks()
    text = capsys.readouterr().out
    assert 'acme  (acme-sinks)  use = "acme"\n' in text
    assert "    address  str  required\n    retries  int  default 3\n" in text
    assert 'broken  (acme-sinks)  use = "broken"\n    cannot be loaded: ' in text
    assert "no_such_module_anywhere" in text
    assert 'wav  (media-stream-receiver)  use = "wav"' in text
