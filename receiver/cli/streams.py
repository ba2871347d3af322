"""``receiver streams``: what was received."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from receiver.config_file import load_config
from receiver.errors import ConfigError
from receiver.inspection.listing import StreamSummary, as_json
from receiver.inspection.listing import streams as listed
from receiver.inspection.shown import shown

SPANS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
HEAD = ("started (UTC)", "seconds", "source", "audio", "end", "gaps", "sinks", "call", "folder")
FIRST_LINE = 5  # columns, where the terminal is too narrow for all of them
STYLES = {"live": "bold green", "crashed": "bold red"}


def streams(
    count: Annotated[int, typer.Argument(help="How many, at most.", metavar="N", min=1)] = 20,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Else $RECEIVER_CONFIG, else ./config.toml.", metavar="FILE"),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="A time in UTC (2026-11-21, 2026-11-21T08:30) or how long ago (30m, 2h, 7d).", metavar="TIME"
        ),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only those of this source.", metavar="NAME")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print an object per line instead of text.")] = False,
) -> None:
    """List the newest streams that were received.

    They are those in the directory of the recordings; live and crashed ones say so. What cannot be read is said and
    passed over. Exits with 0, and with 2 where the configuration is wrong.
    """
    try:
        asked = load_config(config, os.environ)
        earliest = None if since is None else _time(since)
    except ConfigError as error:
        typer.echo(f"receiver streams: {error}", err=True)
        raise typer.Exit(2) from None
    root = asked.base / asked.recordings.directory
    if not root.is_dir():
        typer.echo(f"receiver streams: there is no folder {root}: nothing was recorded", err=True)
        return
    found = islice(_chosen(root, earliest, source), count)
    if json:
        for summary in found:
            typer.echo(as_json(summary))
        return
    print_streams(list(found), root, Console(highlight=False, emoji=False))


def _chosen(root: Path, earliest: datetime | None, source: str | None) -> Iterator[StreamSummary]:
    for summary in listed(root, _complain):
        if earliest is not None and summary.started < earliest:
            return  # newest first: the others are older still
        if source is None or summary.source == source:
            yield summary


def _complain(folder: Path, problem: str) -> None:
    print(f"receiver streams: {folder}: {shown(problem)}", file=sys.stderr)


def print_streams(found: list[StreamSummary], root: Path, console: Console) -> None:
    """Columns; on a terminal that is too narrow for them, the last ones on a line of their own."""
    if not found:
        console.print("No streams.")
        return
    rows = [HEAD, *(_row(summary, root, console.encoding) for summary in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    whole = not console.is_terminal or sum(widths) + 2 * len(widths) <= console.width
    for row, style in zip(rows, ["dim", *(STYLES.get(summary.state, "") for summary in found)], strict=True):
        cells = [
            f"{cell:>{width}}" if name == "seconds" else f"{cell:<{width}}"
            for name, cell, width in zip(HEAD, row, widths, strict=True)
        ]
        first = cells if whole else cells[:FIRST_LINE]
        console.print(Text("  ".join(first).rstrip(), style=style), soft_wrap=True)
        if not whole:
            console.print(Text("    " + "  ".join(row[FIRST_LINE:]), style="dim"), soft_wrap=True)


def _row(summary: StreamSummary, root: Path, encoding: str) -> tuple[str, ...]:
    sound = summary.format
    cells = (
        f"{summary.started:%Y-%m-%d %H:%M:%S}",
        f"{summary.duration_s:.1f}",
        summary.source,
        f"{sound.encoding} {sound.rate}: {', '.join(summary.tracks) or 'no track'}",
        summary.end or summary.state,
        ", ".join(f"{length:.2f} {cause}" for cause, length in summary.gaps_s.items()) or "-",
        ", ".join(f"{name} {status}" for name, status in summary.sinks.items()) or "-",
        summary.call_id or "-",
        str(Path(summary.folder).relative_to(root)),
    )
    return tuple(shown(cell, encoding) for cell in cells)


def _time(text: str) -> datetime:
    """A time, or a span before now. Raises ConfigError for what is neither."""
    if match := re.fullmatch(r"([0-9]{1,6})([mhd])", text.strip(), re.ASCII):
        return datetime.now(UTC) - int(match[1]) * SPANS[match[2]]
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError("--since", f"{text!r} is neither a time like 2026-11-21T08:30 nor a span like 2h") from None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
