"""``receiver process``: captures through sinks, offline, as fast as it goes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from receiver.captures.finding import find_captures
from receiver.cli.serve import with_sinks
from receiver.config import Config
from receiver.config_file import load_config
from receiver.errors import ConfigError, ReceiverError
from receiver.logs import configure
from receiver.offline import Offline, Processed

PLAIN_EVERY_S = 5.0


def process(
    captures: Annotated[
        list[str], typer.Argument(help="Captures, folders with captures in them, or patterns.", metavar="CAPTURE")
    ],
    config: Annotated[
        Path | None,
        typer.Option("-c", "--config", help="Its sinks, and its sources where a capture is of one.", metavar="FILE"),
    ] = None,
    sink: Annotated[
        list[str] | None,
        typer.Option(
            help="This sink, instead of the configured ones: ./file.py, a module or a name. Repeatable.", metavar="SINK"
        ),
    ] = None,
    to: Annotated[
        Path, typer.Option(help="Where the streams' folders are made; nothing that is there is touched.", metavar="DIR")
    ] = Path("processed"),
) -> None:
    """Play captures through sinks, without a server.

    What comes out is what came out live: the same audio, and the same facts in stream.json. Exits with 0 if every
    capture was read to its end and every sink had all of it, 1 otherwise, 2 if it cannot be done as asked.
    """
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    errors = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
    configure("warning", "auto")
    try:
        loaded = load_config(config, os.environ)
        if sink:
            uses = [str(Path(use).resolve()) if use.endswith(".py") else use for use in sink]
            loaded = with_sinks(loaded.model_copy(update={"sinks": {}}), uses)
        if not loaded.sinks:
            raise ConfigError("sinks", "there are none: give one with --sink, or configure one")
        paths = find_captures(captures)
    except ReceiverError as error:
        errors.print(f"receiver process: {escape(str(error))}")
        raise typer.Exit(2) from None
    try:
        failed = asyncio.run(_process(loaded, paths, to.absolute(), console, errors))
    except ReceiverError as error:
        errors.print(f"receiver process: {escape(str(error))}")
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None
    except KeyboardInterrupt:
        errors.print("stopped")
        raise typer.Exit(1) from None
    if failed:
        raise typer.Exit(1)


async def _process(config: Config, paths: list[Path], to: Path, console: Console, errors: Console) -> bool:
    """Play all of them; whether something was not as it should be."""
    failed, audio_s, began = 0, 0.0, time.monotonic()
    total = sum(path.stat().st_size for path in paths)
    async with Offline(config, to) as offline:
        with _progress(errors, total) as progress:
            before = 0
            for path in paths:
                done = await offline.process(path, partial(_add, progress, before))
                before += path.stat().st_size
                progress(before)
                audio_s += done.duration_s
                failed += not done.ok
                for line in report(done):
                    console.print(escape(line))
    took = max(time.monotonic() - began, 1e-9)
    fine = len(paths) - failed
    console.print(
        f"{fine} of {len(paths)} captures, {audio_s:.1f} s of audio in {took:.1f} s: {audio_s / took:.0f} x real time"
    )
    return failed > 0


def _add(progress: Callable[[int], None], before: int, read: int) -> None:
    progress(before + read)


def report(done: Processed) -> list[str]:
    """What became of a capture, for people."""
    lines = []
    if done.directory is not None:
        reason = "" if done.reason is None else done.reason.value
        lines.append(f"{done.path} -> {done.directory}  {done.duration_s:.1f} s, {reason}")
    if done.problem is not None:
        lines.append(f"  failed: {done.problem}")
    for name, sink in done.sinks.items():
        if sink.status != "ok":
            lines.append(f"  sink {name}: {sink.status}" + (f", {sink.error}" if sink.error else ""))
        for track, seconds in sink.dropped_s.items():
            lines.append(f"  sink {name}: missed {seconds:.3f} s of {track}")
    return lines


@contextlib.contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, a line now and then elsewhere."""
    if console.is_terminal:
        columns = (TextColumn("processing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("processing", total=total)
            yield lambda read: bar.update(task, completed=read)
        return
    due = time.monotonic() + PLAIN_EVERY_S

    def line(read: int) -> None:
        nonlocal due
        if (now := time.monotonic()) >= due:
            due = now + PLAIN_EVERY_S
            console.print(f"{read / 1e6:.1f} of {total / 1e6:.1f} MB")

    yield line
