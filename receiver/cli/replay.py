"""``receiver replay``: recorded streams again, one or a thousand of them, exactly or with faults."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from receiver.captures.finding import find_captures
from receiver.errors import ReceiverError
from receiver.simulate.connection import parse_header, target
from receiver.simulate.faults import parse_fault
from receiver.simulate.replay import Replay
from receiver.simulate.replay import replay as play
from receiver.simulate.sending import parse_speed
from receiver.simulate.tally import Summary, Tally
from receiver.simulate.tape import read_tapes

PLAIN_EVERY_S = 5.0  # between two lines of progress where there is no terminal
SHOWN_EVERY_S = 0.2  # on a terminal

FAULTS = """Something goes wrong; may be repeated. Of packets: gap, silence, reorder, duplicate, bad-json, bad-base64;
of time: burst, stall, restart-clock; of the end: cut, fin, close, no-stop. WHERE is a time in the stream such as 5s, a
span such as 5s+200ms, or a share of the packets such as 5%. Without it: once, somewhere."""


def replay(
    captures: Annotated[
        list[str], typer.Argument(help="Captures, folders with captures in them, or patterns.", metavar="CAPTURE")
    ],
    to: Annotated[str, typer.Option(help="The server: ws:// or wss://.", metavar="URL", show_default=False)],
    token: Annotated[
        str,
        typer.Option(
            envvar="RECEIVER_TOKEN", help="Sent as a bearer token; never printed.", show_default=False, metavar="TOKEN"
        ),
    ] = "",
    header: Annotated[
        list[str] | None, typer.Option(help="A header of the handshake; may be repeated.", metavar="'NAME: VALUE'")
    ] = None,
    speed: Annotated[
        str, typer.Option(help="1 is as recorded, 10 ten times faster, max without waiting.", metavar="N|max")
    ] = "1",
    copies: Annotated[
        int,
        typer.Option(help="How often each stream is there at the same time, with ids of its own.", metavar="N", min=1),
    ] = 1,
    spread: Annotated[
        float | None,
        typer.Option(
            help="Over which they start. Without it: 0.02 for each, 10 at most.",
            metavar="SECONDS",
            min=0,
            show_default=False,
        ),
    ] = None,
    loops: Annotated[
        int, typer.Option(help="How often each is played, one after the other; 0: until Ctrl-C.", metavar="N", min=0)
    ] = 1,
    fault: Annotated[list[str] | None, typer.Option(help=FAULTS, metavar="KIND[:WHERE]")] = None,
    seed: Annotated[
        int, typer.Option(help="Of what is random in faults; the n-th stream has this plus n.", metavar="N")
    ] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Send captures to a server, as they were or with faults.

    Text, order and spacing are those of the capture. One that cannot be read is named before anything is sent. Ctrl-C
    ends all streams in order. Exits with 0 if the server took everything as asked, 1 if it refused or broke off, 2 if
    it cannot be done as asked. See docs/replay.md.
    """
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    errors = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
    try:
        to_call = target(to, token, [parse_header(given) for given in header or []])
        pace, faults = parse_speed(speed), [parse_fault(given) for given in fault or []]
        with errors.status("reading captures") if errors.is_terminal else contextlib.nullcontext():
            tapes = read_tapes(find_captures(captures))
        asked = Replay(
            tapes=tapes,
            to=to_call,
            speed=pace,
            copies=copies,
            spread_s=spread,
            loops=loops,
            faults=faults,
            seed=seed,
        )
        summary = asyncio.run(_replay(asked, errors))
    except ReceiverError as error:
        errors.print(f"receiver replay: {escape(str(error))}")
        raise typer.Exit(2) from None
    if json:
        print(msgspec.json.format(msgspec.json.encode(summary), indent=2).decode())
    else:
        for line in report(summary):
            console.print(escape(line))
    if not summary.ok or (summary.stopped and loops):
        raise typer.Exit(1)


def report(summary: Summary) -> list[str]:
    """What became of it, for people."""
    ends = [f"{summary.finished} finished"]
    ends += [f"{count} refused with HTTP {status}" for status, count in summary.refused.items()]
    for count, what in ((summary.unreachable, "without an answer"), (summary.broken, "broken")):
        ends += [f"{count} {what}"] if count else []
    ends += [f"{summary.stopped} stopped before their end"] if summary.stopped else []
    lines = [
        f"streams   {summary.streams}: {', '.join(ends)}",
        f"sent      {summary.messages} messages, {summary.megabytes:.1f} MB",
        f"took      {summary.seconds:.2f} s, {summary.messages_per_s:.0f} messages/s, "
        f"at worst {summary.worst_late_s * 1000:.1f} ms late",
    ]
    if summary.received:
        lines.append(f"received  {summary.received} messages")
    if summary.close_codes:
        codes = ", ".join(f"{code} ({count})" for code, count in summary.close_codes.items())
        lines.append(f"closed    {codes}")
    if summary.withheld:
        lines.append(f"left out  {summary.withheld} messages, which were withheld when this was captured")
    lines += [f"problem   {line}" for problem in summary.problems for line in problem.splitlines()]
    return lines


async def _replay(asked: Replay, console: Console) -> Summary:
    loop, stop, tally = asyncio.get_running_loop(), asyncio.Event(), Tally()

    def stopped() -> None:
        if not stop.is_set():
            console.print("stopping: every stream is ended in order")
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)  # the second one does not wait

    loop.add_signal_handler(signal.SIGINT, stopped)
    watching = asyncio.create_task(_watch(asked, tally, console))
    try:
        await play(asked, tally, stop)
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        watching.cancel()
        await asyncio.wait({watching})
    return tally.summary()


async def _watch(asked: Replay, tally: Tally, console: Console) -> None:
    """Show how far it is, until cancelled."""
    speed = _speedometer(tally)
    if not console.is_terminal:
        while True:
            await asyncio.sleep(PLAIN_EVERY_S)
            console.print(f"{tally.seconds:.0f} s: {_state(asked, tally)}, {speed():.0f} messages/s")
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("connecting", total=asked.messages)
        while True:
            await asyncio.sleep(SHOWN_EVERY_S)
            said = f"{_state(asked, tally)}, {speed():.0f} messages/s"
            bar.update(task, completed=tally.messages, description=said)


def _state(asked: Replay, tally: Tally) -> str:
    whole = "" if asked.messages is None else f" of {asked.messages}"
    said = f"{tally.live} of {asked.streams} streams up, {tally.refused.total()} refused, {tally.finished} finished"
    return f"{said}, {tally.messages}{whole} messages"


def _speedometer(tally: Tally) -> Callable[[], float]:
    """Messages per second since the last time it was asked."""
    before, before_s = 0, 0.0

    def speed() -> float:
        nonlocal before, before_s
        now, now_s = tally.messages, tally.seconds
        speed = (now - before) / (now_s - before_s) if now_s > before_s else 0.0
        before, before_s = now, now_s
        return speed

    return speed
