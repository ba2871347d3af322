"""The three parts of a model: found where CMU Sphinx puts them, missed by name."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from receiver_plugins.transcribe.engines.pocketsphinx_model import Model, find_model

from receiver.errors import ConfigError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "fr-fr").mkdir()
    for name in ("fr-fr/mdef", "fr.dict", "fr.lm.bin", "fr-phone.lm.bin", "README"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture(autouse=True)
def _installed() -> None:
    pytest.importorskip("pocketsphinx")


def test_the_bundled_model_is_there() -> None:
    found = find_model(None)
    assert Path(found.acoustic, "mdef").is_file()
    assert Path(found.dictionary).name == "cmudict-en-us.dict"
    assert Path(found.language).name == "en-us.lm.bin"


def test_a_model_of_ones_own_is_found(model: Path) -> None:
    assert find_model(model) == Model(str(model / "fr-fr"), str(model / "fr.dict"), str(model / "fr.lm.bin"))


@pytest.mark.parametrize(
    ("missing", "what"),
    [("fr-fr/mdef", "0 of a directory with mdef"), ("fr.dict", r"0 of \*.dict"), ("fr.lm.bin", r"0 of \*.lm.bin")],
)
def test_a_part_that_is_missing_is_named(model: Path, missing: str, what: str) -> None:
    (model / missing).unlink()
    with pytest.raises(ConfigError, match=what) as raised:
        find_model(model)
    assert raised.value.key == "model"


def test_two_of_one_part_are_one_too_many(model: Path) -> None:
    (model / "other.dic").touch()
    with pytest.raises(ConfigError, match=r"it has 2 of \*.dict"):
        find_model(model)


@pytest.mark.parametrize("name", ["nothing", "fr.dict"])
def test_what_is_no_directory_is_no_model(model: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is no directory that can be read") as raised:
        find_model(model / name)
    assert raised.value.key == "model"


def test_without_the_package_there_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'media-stream-receiver\[transcribe\]'") as raised:
        find_model(None)
    assert raised.value.key == "engine"
