"""``receiver snippet``: what to paste at SignalWire so that calls are streamed to this server."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

import typer

from receiver.simulate.snippets import CODECS, SNIPPETS, SnippetError, Target


class Kind(StrEnum):
    """A surface on which a stream can be started."""

    SWML = "swml"
    RELAY_PYTHON = "relay-python"
    RELAY_JS = "relay-js"
    REST = "rest"
    CXML = "cxml"
    COMPAT_REST = "compat-rest"
    ALL = "all"


def snippet(
    url: Annotated[str, typer.Option(help="This server's public address: wss://….", show_default=False, metavar="URL")],
    kind: Annotated[Kind, typer.Option(help="Which of them.")] = Kind.ALL,
    codec: Annotated[str, typer.Option(help="PCMU, PCMA, OPUS, L16@16000h or L16@24000h.", metavar="CODEC")] = "PCMU",
    token_env: Annotated[
        str, typer.Option(help="The environment variable that will hold the token.", metavar="NAME")
    ] = "RECEIVER_TOKEN",  # noqa: S107  # a variable's name, not a token
    token: Annotated[
        str | None,
        typer.Option(
            help="Write this token into the text, instead of a reference to it.", show_default=False, metavar="TOKEN"
        ),
    ] = None,
) -> None:
    """Print what makes SignalWire stream a call to this server.

    It is one-way, with both tracks. There are several ways; without --kind all are printed.
    """
    codec = re.sub(r"^L16$", "L16@16000h", codec.upper()).replace("H", "h")
    if not re.fullmatch(r"wss://[!-~]+", url) or {"?", "#"} & set(
        url
    ):  # SignalWire connects to nothing else, and drops a query
        _refuse("--url must be wss://host/path, without a query: SignalWire takes no other")
    if codec not in CODECS:
        _refuse(f"--codec {codec}: {', '.join(CODECS)}")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", token_env):
        _refuse("--token-env must be the name of an environment variable")
    if token is not None and not re.fullmatch(r"[!-~]+", token):
        _refuse("--token must be printable ASCII without spaces")
    target = Target(url, codec, token, token_env)
    if kind is not Kind.ALL:
        try:
            print(SNIPPETS[kind](target))
        except SnippetError as error:
            _refuse(str(error))
        return
    for name, make in SNIPPETS.items():
        print(f"── {name} ──")
        try:
            print(make(target), end="\n\n")
        except SnippetError as error:
            print(f"not possible: {error}", end="\n\n")


def _refuse(problem: str) -> None:
    typer.echo(f"receiver snippet: {problem}", err=True)
    raise typer.Exit(2)
