"""Whether a directory holds a Whisper model as CTranslate2 has it."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

from receiver.errors import ConfigError

KIND = b"WhisperSpec\0"
"""How ``model.bin`` begins, behind its version (four bytes) and this name's length (two)."""

_HEAD = struct.Struct(f"=IH{len(KIND)}s")


def check_model(directory: Path) -> None:
    """Look whether all is there, without loading it: what is missing would be looked for on the network.

    Raises ConfigError with the key ``engine``, if faster-whisper is not installed, or ``model``.
    """
    if importlib.util.find_spec("faster_whisper") is None:
        raise ConfigError(
            "engine", "faster-whisper is not installed: pip install 'media-stream-receiver[faster-whisper]'"
        )
    if not directory.is_dir():
        raise ConfigError(
            "model", f"{directory} is no directory; models are not downloaded: make one with ct2-transformers-converter"
        )
    for name in ("model.bin", "tokenizer.json"):
        if not (directory / name).is_file():
            raise ConfigError("model", f"{directory} has no {name}, as a Whisper model for CTranslate2 has")
    try:
        with (directory / "model.bin").open("rb") as file:
            head = file.read(_HEAD.size)
    except OSError as error:
        raise ConfigError("model", f"{directory / 'model.bin'} cannot be read: {error.strerror}") from None
    if len(head) < _HEAD.size or _HEAD.unpack(head)[1:] != (len(KIND), KIND):
        raise ConfigError("model", f"{directory / 'model.bin'} is no Whisper model of CTranslate2")
