"""The commands, one file each.

Only the command that is asked for is loaded: a server that starts is not to wait for what draws, calls and inspects.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Annotated

import typer

from receiver.errors import ConfigError

COMMANDS: Mapping[str, str] = {
    "serve": "Receive streams until SIGTERM or Ctrl-C.",
    "demo": "Receive two calls on this machine, and show the recordings.",
    "call": "Call a server as a telephone platform does.",
    "replay": "Send captures to a server, as they were or with faults.",
    "process": "Play captures through sinks, without a server.",
    "inspect": "Show what is in a capture or a stream's folder.",
    "streams": "List the newest streams that were received.",
    "erase": "Erase everything that a stream or a call has left.",
    "check": "Read the configuration and say what would run.",
    "token": "Make a token.",
    "sinks": "List the installed sinks and their options.",
    "new-sink": "Write a plugin package to start from.",
    "snippet": "Print what makes SignalWire stream a call to this server.",
}
"""What each does, as the first line of its own help says it: to list them takes loading none."""


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version  # loads what reads mail and archives

        print(version("media-stream-receiver"))
        raise typer.Exit


def application(*loaded: str) -> typer.Typer:
    """The commands as an application: ``loaded`` can be run, the others are only listed."""
    app = typer.Typer(
        name="receiver",
        help="Receives the audio of live phone calls over WebSocket.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_options)
    for name, summary in COMMANDS.items():
        if name in loaded:
            module = name.replace("-", "_")
            app.command(name)(getattr(import_module(f"receiver.cli.{module}"), module))
        else:
            app.command(name, help=summary)(_listed)
    return app


def _options(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Receives the audio of live phone calls over WebSocket."""


def _listed() -> None:
    """Stands for a command that was not asked for, and so is not run."""


def main() -> None:
    """Run a command: exit code 0 done, 1 failed, 2 wrong use or configuration."""
    # Options before a command end with an answer of their own: the first word that names one is the one that is run.
    asked = next((word for word in sys.argv[1:] if word in COMMANDS), "")
    try:
        application(asked)()
    except ConfigError as error:
        print(f"receiver: {error}", file=sys.stderr)
        sys.exit(2)
