"""Live transcription: what was said on a stream, by whom and where, as annotations and as files."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import Field

from receiver.errors import ConfigError
from receiver.sinks import Plugin, Secret

from .detector import detectors
from .settings import Attempts, Longest, Mode, Padding, Pause, Pending, Settings, Silence
from .transcription import transcription

Count = Annotated[int | None, Field(ge=1, le=1000)]
Timeout = Annotated[float | None, Field(gt=0, le=3600)]

EngineName = Literal["pocketsphinx", "faster_whisper", "vosk_server"]


@asynccontextmanager
async def plugin(
    *,
    engine: EngineName = "pocketsphinx",
    model: Path | None = None,
    language: str | None = None,
    url: str | None = None,
    token: Secret | None = None,
    workers: Count = None,
    places: Count = None,
    timeout_s: Timeout = None,
    vad_mode: Mode = 2,
    silence_s: Silence = 0.6,
    padding_s: Padding = 0.3,
    max_speech_s: Longest = 30,
    pending_s: Pending = 60,
    pending_total_s: Pending = 3600,
    partials: bool = True,
    partial_s: Pause = 0.5,
    attempts: Attempts = 3,
) -> AsyncIterator[Plugin]:
    """Transcribe streams while they are live.

    Which engine has which of the options before ``vad_mode``, and what all of them mean: ``docs/transcription.md``.
    """
    given = {
        "model": model,
        "language": language,
        "url": url,
        "token": token,
        "workers": workers,
        "places": places,
        "timeout_s": timeout_s,
    }
    settings = Settings(
        vad_mode=vad_mode,
        silence_s=silence_s,
        padding_s=padding_s,
        max_speech_s=max_speech_s,
        pending_s=pending_s,
        pending_total_s=pending_total_s,
        partials=partials,
        partial_s=partial_s,
        attempts=attempts,
    )
    opened = None
    try:
        detector = detectors(vad_mode)
        module = _module(engine)
        opener = getattr(module, f"{engine}_engine")
        context = opener(**_options(opener, engine, given))
        opened = await context.__aenter__()
    except ConfigError as error:
        raise ConfigError(f"options.{error.key}", error.problem) from None
    try:
        yield transcription(opened, settings, detector)
    finally:
        await context.__aexit__(None, None, None)


async def check(**options: Any) -> list[str]:
    """What is wrong with the plugin's options, a line each; for ``receiver check``. Makes no call."""
    engine = options["engine"]
    names = ("model", "language", "url", "token", "workers", "places", "timeout_s")
    try:
        detectors(options["vad_mode"])
        module = _module(engine)
        given = _options(getattr(module, f"{engine}_engine"), engine, {name: options[name] for name in names})
        asked = inspect.signature(module.check).parameters
        found = module.check(**{name: value for name, value in given.items() if name in asked})
        return list(await found if inspect.isawaitable(found) else found)
    except ConfigError as error:
        return [str(error)]


def _module(engine: str) -> ModuleType:
    return importlib.import_module(f".engines.{engine}", __package__)


def _options(opener: Callable[..., Any], engine: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were given. Raises ConfigError for one that is not the engine's, or is missing."""
    known = inspect.signature(opener).parameters
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in chosen:
        if name not in known:
            raise ConfigError(name, f"is no option of the engine {engine}, which has: {', '.join(known)}")
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in chosen:
            raise ConfigError(name, f"is required by the engine {engine}")
    return chosen
