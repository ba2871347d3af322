"""``receiver call``: audio files as a live call to a server."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from receiver.audio import Encoding
from receiver.auth.twilio_signature import HEADER, signature
from receiver.errors import ReceiverError
from receiver.routes import check_public_url
from receiver.simulate import SPEECH, Call, CallError, Outcome, Progress, duration_s, parse_keys, sides, speak
from receiver.simulate.connection import parse_header
from receiver.simulate.sending import parse_speed

PLAIN_EVERY_S = 10.0  # of the call, between two lines of progress where there is no terminal


class Dialect(StrEnum):
    """Whose messages."""

    SIGNALWIRE = "signalwire"
    TWILIO = "twilio"


class ByteOrder(StrEnum):
    """Of L16."""

    LITTLE = "little"
    BIG = "big"


def call(
    to: Annotated[str, typer.Option(help="The server: ws:// or wss://.", metavar="URL", show_default=False)],
    inbound: Annotated[
        Path | None,
        typer.Option(
            help="What the caller says: any audio file. Without files: the bundled demo call.", metavar="FILE"
        ),
    ] = None,
    outbound: Annotated[Path | None, typer.Option(help="What the caller hears.", metavar="FILE")] = None,
    stereo: Annotated[
        Path | None, typer.Option(help="Both sides in one file: left inbound, right outbound.", metavar="FILE")
    ] = None,
    codec: Annotated[Encoding, typer.Option(case_sensitive=False)] = Encoding.PCMU,
    rate: Annotated[int | None, typer.Option(help="For L16 and OPUS.", show_default=False, metavar="HERTZ")] = None,
    byte_order: Annotated[ByteOrder, typer.Option(help="Of L16.")] = ByteOrder.LITTLE,
    packet_ms: Annotated[int, typer.Option(help="Milliseconds of audio in a message.", metavar="MS")] = 20,
    dialect: Annotated[Dialect, typer.Option(help="Whose messages to send.")] = Dialect.SIGNALWIRE,
    parameter: Annotated[
        list[str] | None, typer.Option(help="A custom parameter; may be repeated.", metavar="NAME=VALUE")
    ] = None,
    digits: Annotated[str, typer.Option(help="To press: '5@2.5,#' is 5 after 2.5 s, then #.", metavar="KEYS")] = "",
    call_id: Annotated[
        str | None, typer.Option(help="The call's id; made up otherwise.", show_default=False, metavar="ID")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(help="A header of the handshake; may be repeated.", metavar="'NAME: VALUE'")
    ] = None,
    token: Annotated[
        str,
        typer.Option(
            envvar="RECEIVER_TOKEN", help="Sent as a bearer token; never printed.", show_default=False, metavar="TOKEN"
        ),
    ] = "",
    sign_with: Annotated[
        str,
        typer.Option(
            envvar="RECEIVER_TWILIO_KEY",
            help="Sign like Twilio, with this key; never printed.",
            show_default=False,
            metavar="KEY",
        ),
    ] = "",
    public_url: Annotated[
        str | None,
        typer.Option(
            help="What stands before the path in the address that is signed. Without it: as in --to, with wss.",
            show_default=False,
            metavar="URL",
        ),
    ] = None,
    speed: Annotated[
        str, typer.Option(help="1 is real time, 10 ten times faster, max without waiting.", metavar="N|max")
    ] = "1",
    stop: Annotated[bool, typer.Option(help="End with a stop message.")] = True,
) -> None:
    """Call a server as a telephone platform does.

    Audio files become a live call, in real time. Prints what the server answered. Exits with 0 if it took the whole
    call, 1 if it refused or the connection broke, 2 if the call cannot be made as asked.
    """
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    errors = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
    try:
        if inbound is None and outbound is None and stereo is None:
            inbound, outbound = SPEECH / "inbound.flac", SPEECH / "outbound.flac"
        asked = Call(
            inbound=inbound,
            outbound=outbound,
            stereo=stereo,
            encoding=codec,
            rate=rate,
            byte_order="little" if byte_order is ByteOrder.LITTLE else "big",
            packet_ms=packet_ms,
            dialect=dialect,
            parameters=dict(_parameter(given) for given in parameter or []),
            keys=parse_keys(digits),
            call_id=call_id,
            stop=stop,
        )
        headers = [parse_header(given) for given in header or []]
        signed_url = _signed_url(to, public_url)
        if sign_with:
            headers.append((HEADER, signature(sign_with, signed_url)))
        with _progress(errors, duration_s(sides(asked).values())) as progress:
            outcome = asyncio.run(
                speak(asked, url=to, token=token, headers=headers, speed=parse_speed(speed), progress=progress)
            )
    except ReceiverError as error:
        errors.print(f"receiver call: {escape(str(error))}")
        raise typer.Exit(2) from None
    for line in report(outcome):
        console.print(escape(line))
    if outcome.status == 401 and not token:
        console.print("          no token was sent: give one with --token or RECEIVER_TOKEN")
    if not outcome.ok:
        raise typer.Exit(1)


def report(outcome: Outcome) -> list[str]:
    """What came of a call, for people."""
    lines = []
    if outcome.status == 101:
        lines.append("answered  101 Switching Protocols")
    elif outcome.status is not None:
        lines.append(f"refused   HTTP {outcome.status}")
        lines += [f"          {line}" for line in outcome.body.splitlines()]
    if outcome.error:
        lines.append(f"failed    {outcome.error}")
    if outcome.status == 101:
        whole = "all of it" if outcome.complete else "not all of it"
        size_kb = outcome.characters / 1000
        lines.append(f"sent      {outcome.messages} messages, {size_kb:.0f} kB, {whole}")
        lines.append(
            f"took      {outcome.seconds:.2f} s, {outcome.messages_per_s:.0f} messages/s, "
            f"at worst {outcome.worst_late_s * 1000:.1f} ms late"
        )
        if outcome.received:
            lines.append(f"received  {outcome.received} messages")
        reason = f" {outcome.close_reason}" if outcome.close_reason else ""
        lines.append(f"closed    {outcome.close_code}{reason}")
    return lines


def _parameter(given: str) -> tuple[str, str]:
    name, found, value = given.partition("=")
    if not found or not name.strip():
        raise CallError("--parameter: must be NAME=VALUE")
    return name.strip(), value


def _signed_url(to: str, public_url: str | None) -> str:
    """The address as Twilio would have been given it: it takes no other scheme than wss."""
    address = to.partition("#")[0].partition("://")[2]
    if public_url is None:
        return f"wss://{address}"
    try:
        origin = check_public_url(public_url)
    except ValueError as error:
        raise CallError(f"--public-url: {error}") from None
    path = re.search(r"[/?].*", address, re.DOTALL)
    return origin + (path[0] if path else "")


@contextlib.contextmanager
def _progress(console: Console, length_s: float) -> Iterator[Progress]:
    """A bar on a terminal, a line now and then elsewhere."""
    if console.is_terminal:
        columns = (TextColumn("calling"), BarColumn(), MofNCompleteColumn(), TextColumn("s"), TimeElapsedColumn())
        with Bar(*columns, console=console, transient=True) as bar:
            task = bar.add_task("calling", total=round(length_s))
            yield lambda position_s, _sent: bar.update(task, completed=int(position_s))
        return
    due_s = 0.0

    def line(position_s: float, sent: int) -> None:
        nonlocal due_s
        if position_s >= due_s:
            due_s += PLAIN_EVERY_S
            console.print(f"{position_s:.1f} of {length_s:.1f} s, {sent} messages" if sent else "connected")

    yield line
