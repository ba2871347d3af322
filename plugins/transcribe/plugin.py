"""Live transcription: what was said on a stream, by whom and where, as annotations and as files."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import Field

from receiver.errors import ConfigError
from receiver.sinks import Plugin, Secret

from .detector import detectors
from .settings import Attempts, Longest, Mode, Padding, Pause, Pending, Settings, Silence
from .transcription import transcription

EngineName = Literal["pocketsphinx", "faster_whisper", "vosk_server"]
Device = Literal["cpu", "cuda", "auto"]
Count = Annotated[int | None, Field(ge=1, le=1000)]
Timeout = Annotated[float | None, Field(gt=0, le=3600)]

ENGINE_OPTIONS = (
    "model",
    "language",
    "device",
    "compute_type",
    "beam_size",
    "threads",
    "url",
    "token",
    "workers",
    "places",
    "timeout_s",
)
"""Options that only some engines have; None is the engine's own default."""

SELDOM_S = 0.25
"""So much speech at least goes into a partial that has to be decoded for itself."""


@asynccontextmanager
async def plugin(
    *,
    engine: EngineName = "pocketsphinx",
    model: Path | None = None,
    language: str | None = None,
    device: Device | None = None,
    compute_type: str | None = None,
    beam_size: Count = None,
    threads: Count = None,
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
    given = {
        "model": model,
        "language": language,
        "device": device,
        "compute_type": compute_type,
        "beam_size": beam_size,
        "threads": threads,
        "url": url,
        "token": token,
        "workers": workers,
        "places": places,
        "timeout_s": timeout_s,
    }
    async with AsyncExitStack() as stack:
        try:
            detector = await asyncio.to_thread(detectors, vad_mode)  # this and the next one import
            opener = await asyncio.to_thread(_opener, engine)
            options = _chosen(opener, engine, given)
            if "partial_s" in inspect.signature(opener).parameters:  # it decodes anew for each: none that nobody gets
                options["partial_s"] = max(partial_s, SELDOM_S) if partials else 0
            opened = await stack.enter_async_context(opener(**options))
        except ConfigError as error:
            raise ConfigError(f"options.{error.key}", error.problem) from None
        yield transcription(opened, settings, detector)


async def check(**options: Any) -> list[str]:
    """What is wrong with the plugin's options, a line each; for ``receiver check``. Makes no call."""
    engine = options["engine"]
    try:
        await asyncio.to_thread(detectors, options["vad_mode"])
        opener = await asyncio.to_thread(_opener, engine)
        given = _chosen(opener, engine, {name: options[name] for name in ENGINE_OPTIONS})
        inspects = _module(engine).check
        asked = inspect.signature(inspects).parameters
        found = await asyncio.to_thread(
            inspects, **{name: value for name, value in given.items() if name in asked}
        )  # some look at the disk, some at the network, and those are to be awaited
        return list(await found if inspect.isawaitable(found) else found)
    except ConfigError as error:
        return [str(error)]


def _module(engine: str) -> ModuleType:
    return importlib.import_module(f".engines.{engine}", __package__)


def _opener(engine: str) -> Callable[..., Any]:
    opener: Callable[..., Any] = getattr(_module(engine), f"{engine}_engine")
    return opener


def _chosen(opener: Callable[..., Any], engine: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given. Raises ConfigError for one that is not the engine's, or is missing."""
    parameters = inspect.signature(opener).parameters
    known = [name for name in ENGINE_OPTIONS if name in parameters]
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in chosen:
        if name not in known:
            raise ConfigError(name, f"is no option of the engine {engine}, which has: {', '.join(known)}")
    for name in known:
        if parameters[name].default is inspect.Parameter.empty and name not in chosen:
            raise ConfigError(name, f"is required by the engine {engine}")
    return chosen
