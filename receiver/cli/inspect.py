"""``receiver inspect``: what is in a capture or a recording."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from receiver.inspection.folder import InspectionError, encode
from receiver.inspection.folder import inspect as look
from receiver.inspection.target import check_target, write
from receiver.inspection.terminal import print_report


def inspect(
    path: Annotated[Path, typer.Argument(help="A capture, or a stream's folder.", metavar="CAPTURE|FOLDER")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    png: Annotated[Path | None, typer.Option(help="Also draw it, into this file.", metavar="FILE")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write a page of it, into this file, which needs no other.", metavar="FILE")
    ] = None,
) -> None:
    """Show what is in a capture or a stream's folder.

    That is: timing, gaps, jitter, levels, waveforms, digits and marks. Exits with 0; with 1 where a capture is damaged,
    and what comes before that place is shown; with 2 where there is nothing to inspect, or a file cannot be written.
    Pictures need media-stream-receiver[plot].
    """
    try:
        for target, suffixes in ((png, (".png",)), (html, (".html", ".htm"))):
            if target is not None:
                check_target(target, suffixes, path)
        report = look(path)
        if png is not None or html is not None:
            from receiver.inspection import page, plot  # matplotlib takes a second to load

            if png is not None:
                write(png, plot.png(report))
            if html is not None:
                write(html, page.render(report, plot.svg(report)))
    except InspectionError as error:
        print(f"receiver inspect: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    if json:
        typer.echo(encode(report))
    else:
        console = Console(highlight=False, emoji=False)
        print_report(report, console)
    if report.capture is not None and report.capture.problem is not None:
        print(f"receiver inspect: {report.capture.problem}", file=sys.stderr)
        raise typer.Exit(1)
