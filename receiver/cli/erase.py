"""``receiver erase``: what the management listener does on request, for who has none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from receiver.config_file import load_config
from receiver.errors import ConfigError
from receiver.inspection.shown import shown
from receiver.logs import configure
from receiver.recordings.asked import WHY, Outcome, erase_asked
from receiver.recordings.erasing import Eraser

BY = "command line"
"""Who asked, as the log has it."""


def erase(
    stream: Annotated[str | None, typer.Argument(help="The receiver's own id of a stream.", metavar="STREAM")] = None,
    call: Annotated[str | None, typer.Option(help="Every stream of this call instead.", metavar="ID")] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Else $RECEIVER_CONFIG, else ./config.toml.", metavar="FILE"),
    ] = None,
) -> None:
    """Erase everything that a stream or a call has left.

    Streams that are live, or that sinks are at work on, stay, and are named. Plugins of a server that runs are told
    only if it is asked itself: DELETE /api/streams/ID. Exits with 0 when everything is gone, with 1 when something is
    still there or nothing was found, and with 2 for wrong use.
    """
    try:
        if (stream is None) == (call is None):
            raise ConfigError("receiver erase", "takes the id of a stream, or --call and that of a call")
        asked = load_config(config, os.environ)
    except ConfigError as error:
        typer.echo(f"receiver erase: {error}", err=True)
        raise typer.Exit(2) from None
    configure(asked.log.level, asked.log.format)
    root = asked.base / asked.recordings.directory
    eraser = Eraser(root, lambda erased: None)
    outcome = erase_asked(eraser, asked.recordings.path, stream_id=stream, call_id=call, by=BY)
    _print(outcome, root)
    if outcome.kept or not outcome.erased:
        raise typer.Exit(1)


def _print(outcome: Outcome, root: Path) -> None:
    for erased in outcome.erased:
        directory = "" if erased.directory is None else shown(str(erased.directory.relative_to(root)))
        print(f"erased  {directory}  {erased.files} files, {erased.bytes} bytes")
    for kept in outcome.kept:
        more = ", ".join(kept.sinks) or kept.problem
        print(f"kept    {shown(str(kept.directory))}  {WHY[kept.why]}{f': {more}' if more else ''}")
    if not outcome.erased and not outcome.kept:
        typer.echo("receiver erase: there is no such stream", err=True)
