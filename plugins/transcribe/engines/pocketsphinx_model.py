"""Where the three parts of a model for pocketsphinx are."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import msgspec

from receiver.errors import ConfigError


class Model(msgspec.Struct, frozen=True):
    """The three, as paths."""

    acoustic: str  # a directory
    dictionary: str
    language: str


def find_model(directory: Path | None) -> Model:
    """The parts in a directory, laid out as those that CMU Sphinx publishes; None is the one in pocketsphinx's wheel.

    That is a directory with ``mdef`` in it, a dictionary ``*.dict`` or ``*.dic``, and a language model ``*.lm.bin``,
    ``*.lm`` or ``*.lm.dmp``; one of phones (``*-phone.lm.bin``) does not count. Reads no more than names.

    Raises ConfigError with the key ``engine``, if pocketsphinx is not installed, or ``model``.
    """
    package = importlib.util.find_spec("pocketsphinx")
    if package is None or package.origin is None:
        raise ConfigError("engine", "pocketsphinx is not installed: pip install 'media-stream-receiver[transcribe]'")
    if directory is None:
        directory = Path(package.origin).parent / "model" / "en-us"
    try:
        entries = sorted(directory.iterdir())
    except OSError as error:
        raise ConfigError("model", f"{directory} is no directory that can be read: {error.strerror}") from None

    def only(what: str, wanted: Callable[[Path], bool]) -> str:
        found = [entry for entry in entries if wanted(entry)]
        if len(found) != 1:
            raise ConfigError("model", f"{directory} is no model for pocketsphinx: it has {len(found)} of {what}")
        return str(found[0])

    return Model(
        only("a directory with mdef in it, the acoustic model", lambda entry: (entry / "mdef").is_file()),
        only("*.dict, the dictionary", lambda entry: entry.suffix in (".dict", ".dic")),
        only("*.lm.bin, the language model", _is_language_model),
    )


def _is_language_model(path: Path) -> bool:
    name, dot, _ = path.name.partition(".lm")
    return bool(dot) and path.name.endswith((".lm.bin", ".lm", ".lm.dmp")) and not name.endswith("-phone")
