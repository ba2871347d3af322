"""The engine ``pocketsphinx``: small, with a model in its wheel, for English as it is read out. Its words are poor.

It needs neither a network nor a download, and so the demo and the tests transcribe with it. Partials come at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from receiver.errors import ConfigError

from ..engine import Engine
from .pocketsphinx_model import find_model
from .worker_pool import worker_pool

WORKER = "receiver_plugins.transcribe.engines.pocketsphinx_worker"


@asynccontextmanager
async def pocketsphinx_engine(
    *, model: Path | None = None, workers: int = 2, timeout_s: float = 60
) -> AsyncIterator[Engine]:
    """Open it: ``workers`` processes, each of which hears one speaker at a time.

    ``model`` is a directory (``find_model``); None is the American English of the wheel. A worker that does not answer
    within ``timeout_s`` is replaced. Raises ConfigError with the option's name as its key.
    """
    settings = msgspec.json.encode(await asyncio.to_thread(find_model, model)).decode()
    async with worker_pool("pocketsphinx", WORKER, settings, workers=workers, timeout_s=timeout_s) as pool:
        yield pool


def check(*, model: Path | None = None) -> list[str]:
    """What is wrong with these options, one line each. Loads nothing; blocks for a moment."""
    try:
        find_model(model)
    except ConfigError as error:
        return [str(error)]
    return []
