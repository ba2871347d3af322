"""The commands, one file each."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from receiver.cli.call import call
from receiver.cli.check import check
from receiver.cli.demo import demo
from receiver.cli.inspect import inspect
from receiver.cli.process import process
from receiver.cli.replay import replay
from receiver.cli.serve import serve
from receiver.cli.sinks import sinks
from receiver.cli.snippet import snippet
from receiver.cli.streams import streams
from receiver.cli.token import token
from receiver.errors import ConfigError


def _version(asked: bool) -> None:
    if asked:
        print(version("media-stream-receiver"))
        raise typer.Exit


app = typer.Typer(
    name="receiver",
    help="Receives the audio of live phone calls over WebSocket.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Receives the audio of live phone calls over WebSocket."""


for command in (serve, demo, call, replay, process, inspect, streams, check, token, sinks, snippet):
    app.command()(command)


def main() -> None:
    """Run a command: exit code 0 done, 1 failed, 2 wrong use or configuration."""
    try:
        app()
    except ConfigError as error:
        print(f"receiver: {error}", file=sys.stderr)
        sys.exit(2)
