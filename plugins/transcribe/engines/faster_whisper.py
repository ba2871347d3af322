"""The engine ``faster_whisper``: Whisper by CTranslate2, with a model of one's own. Nothing is ever downloaded.

Whisper hears whole utterances: a partial is the utterance so far, decoded anew.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import msgspec

from receiver.errors import ConfigError

from ..engine import Engine
from .whisper_model import check_model
from .worker_pool import worker_pool

WORKER = "receiver_plugins.transcribe.engines.faster_whisper_worker"

Device = Literal["cpu", "cuda", "auto"]


class WhisperSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told."""

    model: str
    device: Device
    compute_type: str
    threads: int
    language: str | None
    beam_size: int
    partial_s: float


@asynccontextmanager
async def faster_whisper_engine(
    *,
    model: Path,
    device: Device = "cpu",
    compute_type: str = "default",
    language: str | None = None,
    beam_size: int = 5,
    partial_s: float = 1.0,
    workers: int = 1,
    threads: int | None = None,
    timeout_s: float = 60,
) -> AsyncIterator[Engine]:
    """Open it: ``workers`` processes, each with the model in memory, each of which hears one speaker at a time.

    ``model`` is a directory as ct2-transformers-converter makes it, ``tokenizer.json`` included. ``compute_type`` is
    CTranslate2's, e.g. ``int8``. ``language`` is a code, e.g. ``en``; None is found out anew for every utterance.
    Partials come for every ``partial_s`` of speech, or less often where that is more than half of what the processor
    can do; 0 is none. ``threads`` is for each worker; None shares the processors among them: more would wait for each
    other. A worker that does not answer within ``timeout_s`` is replaced. Raises ConfigError with the
    option's name as its key.
    """
    await asyncio.to_thread(check_model, model)
    settings = WhisperSettings(
        model=str(model),
        device=device,
        compute_type=compute_type,
        threads=threads or max(len(os.sched_getaffinity(0)) // workers, 1),
        language=language,
        beam_size=beam_size,
        partial_s=partial_s,
    )
    told = msgspec.json.encode(settings).decode()
    async with worker_pool("faster_whisper", WORKER, told, workers=workers, timeout_s=timeout_s) as pool:
        yield pool


def check(*, model: Path) -> list[str]:
    """What is wrong with these options, one line each. Loads nothing; blocks for a moment."""
    try:
        check_model(model)
    except ConfigError as error:
        return [str(error)]
    return []
