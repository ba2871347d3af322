"""What docs/deployment.md says of files, keys and figures is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from receiver.config_file import load_config
from receiver.simulate import SPEECH, Call, messages

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "deployment.md").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.mark.parametrize("block", re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
def test_every_configuration_is_one(block: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(block)
    load_config(tmp_path / "config.toml", {"RECEIVER_TOKEN": "a-token-of-the-tests"})


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"(?:deploy|requirements)/[\w./-]+\w", TEXT)) | {"docker-compose.yml", ".env.example"}
    assert len(named) > 6
    for name in named:
        assert (ROOT / name).exists(), name


def test_what_is_said_of_the_containers_is_in_the_compose_file() -> None:
    receiver = COMPOSE["services"]["receiver"]
    assert f"--ulimit nofile={receiver['ulimits']['nofile']} " in TEXT
    assert f"`ulimit -n` {receiver['ulimits']['nofile']} " in TEXT
    for volume in re.findall(r"the volume `([\w-]+)`", TEXT):
        assert volume in COMPOSE["volumes"]


def test_the_sizes_are_those_of_the_formats() -> None:
    track = 8000 * 2 * 3600 / 1e6
    assert f"{track:.0f} MB for each track as WAV" in TEXT
    assert f'{2 * track:.0f} MB, `"both"` {4 * track:.0f} MB' in TEXT
    call = [said for _, said in messages(Call(inbound=SPEECH / "inbound.flac", outbound=SPEECH / "outbound.flac"))]
    mean = sum(map(len, call)) / len(call)
    assert "about 350 bytes" in TEXT and 300 < mean < 350
    assert "0.3 Mbit/s" in TEXT and round(mean * 8 * 100 / 1e6, 1) == 0.3
