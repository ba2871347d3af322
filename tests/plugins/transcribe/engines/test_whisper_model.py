"""What a Whisper model consists of, looked at without loading it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest
from receiver_plugins.transcribe.engines.whisper_model import check_model

from receiver.errors import ConfigError


@pytest.fixture
def model(whisper_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whisper_model, tmp_path / "model"))


def problem(model: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        check_model(model)
    return str(raised.value)


def test_a_whole_model_is_one(model: Path) -> None:
    check_model(model)


@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json"])
def test_a_file_that_is_missing_is_named(model: Path, name: str) -> None:
    (model / name).unlink()
    assert problem(model) == f"model: {model} has no {name}, as a Whisper model for CTranslate2 has"


def test_a_name_is_no_model_and_nothing_is_downloaded(model: Path) -> None:
    assert problem(Path("tiny")).startswith("model: tiny is no directory; models are not downloaded")


@pytest.mark.parametrize("content", [b"", b"GGUF", b"\6\0\0\0\x10\0TransformerSpec\0\7\0\0\0"])
def test_another_kind_of_model_is_none(model: Path, content: bytes) -> None:
    (model / "model.bin").write_bytes(content)
    assert problem(model) == f"model: {model / 'model.bin'} is no Whisper model of CTranslate2"


def test_a_file_that_cannot_be_read_is_said(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "open", refuse)
    assert problem(model) == f"model: {model / 'model.bin'} cannot be read: Permission denied"


def test_without_the_package_there_is_no_engine(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert problem(model).startswith("engine: faster-whisper is not installed: pip install 'media-stream-receiver[")
