"""``receiver serve``: run."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from receiver.config import DEFAULT_TOKEN, Config, SinkConfig
from receiver.config_file import load_config
from receiver.errors import ConfigError
from receiver.logs import configure, logger

log = logger("receiver.serve")

OWN = Path("receiver.py")
"""A file of the user's that hides this package from every Python program started in its folder."""

EXIT_S = 5.0
"""How long the interpreter may wait for threads that sinks left behind. Everything is written by then."""

RELOAD_S = 0.5
"""How often files are looked at with ``--reload``."""


def serve(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Else $RECEIVER_CONFIG, else ./config.toml.", metavar="FILE")
    ] = None,
    sink: Annotated[
        list[str] | None,
        typer.Option(
            help="One more sink: ./file.py, package.module:attribute or an installed name. Repeatable.", metavar="SINK"
        ),
    ] = None,
    reload: Annotated[bool, typer.Option(help="Start anew, cutting live streams, when a --sink file changes.")] = False,
) -> None:
    """Receive streams until SIGTERM or Ctrl-C."""
    loaded, token = with_token(config, os.environ)
    sinks = [str(Path(use).resolve()) if use.endswith(".py") else use for use in sink or []]
    loaded = with_sinks(loaded, sinks)
    configure(loaded.log.level, loaded.log.format)
    if OWN.exists():
        log.warning(
            "package_shadowed", file=str(OWN.resolve()), problem="here, Python imports this as receiver: rename it"
        )
    if token:
        os.environ[DEFAULT_TOKEN] = token  # kept over a reload
        print(f"A token for this run, as {DEFAULT_TOKEN} is not set:\n\n    {token}\n", flush=True)
    watched = [Path(use) for use in sinks if use.endswith(".py")] if reload else []
    if uvloop.run(_serve(loaded, watched)):
        # Just as it was started: with -m it would find a receiver.py of the working directory before us.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command
    last = threading.Timer(EXIT_S, os._exit, (0,))
    last.daemon = True
    last.start()


def with_token(config: Path | None, environ: Mapping[str, str]) -> tuple[Config, str | None]:
    """The configuration; where it waits for a token that nobody set, with a new one, which comes with it."""
    loaded = load_config(config, environ)
    if not loaded.needs_token():
        return loaded, None
    token = secrets.token_urlsafe(32)
    return load_config(config, {**environ, DEFAULT_TOKEN: token}), token


def with_sinks(config: Config, uses: list[str]) -> Config:
    """The configuration with more sinks, each named after its file, module or entry point."""
    sinks = dict(config.sinks)
    for use in uses:
        name = re.sub(r"[^a-z0-9]+", "_", Path(use.partition(":")[0]).stem.lower()).strip("_")
        name = name if name[:1].isalpha() else f"sink_{name}"
        if name in sinks:
            raise ConfigError(f"sinks.{name}", f"--sink {use}: there is a sink of this name already")
        sinks[name] = SinkConfig(use=use)
    return config.model_copy(update={"sinks": sinks})


async def _serve(config: Config, watched: list[Path]) -> bool:
    """Serve; the answer is whether to start anew."""
    from receiver.asgi.receiver import Receiver
    from receiver.asgi.server import Addresses, serve

    cut = asyncio.Event()

    def started(addresses: Addresses) -> None:
        log.info(
            "listening",
            public=_url(addresses.public, "https" if config.server.tls.certificate else "http"),
            management=_url(addresses.management),
            config=str(config.origin or "defaults"),
            sources={name: source.path for name, source in config.sources.items()},
            sinks=list(config.sinks),
            recordings=str(config.base / config.recordings.directory),
        )

    watcher = asyncio.create_task(_watch(watched, cut))
    try:
        await serve(Receiver(config), started, cut)
    finally:
        watcher.cancel()
    return watcher.done() and not watcher.cancelled()


async def _watch(files: list[Path], cut: asyncio.Event) -> None:
    """Cut everything off once one of the files has changed; without files, never."""
    before = await asyncio.to_thread(_stamps, files)
    while not files or await asyncio.to_thread(_stamps, files) == before:  # noqa: ASYNC110 - a file tells nobody that it changed
        await asyncio.sleep(RELOAD_S)
    log.info("reloading", files=[str(path) for path in files])
    cut.set()


def _stamps(files: list[Path]) -> list[int]:
    return [path.stat().st_mtime_ns if path.exists() else 0 for path in files]


def _url(address: tuple[str, int], scheme: str = "http") -> str:
    host, port = address
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
