"""A report as text, for a terminal of any width and for a file."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from receiver.inspection.distribution import Spread
from receiver.inspection.facts import facts, warnings
from receiver.inspection.figures import jump_ms, rows
from receiver.inspection.report import Report, TrackFigures
from receiver.inspection.shown import shown
from receiver.inspection.timeline import MAX_MARKS, legend, timeline
from receiver.waveform import ASCII, characters

MAX_LINES = 20
"""Of a list; ``--json`` has all of it."""

MAX_NAME = 24  # of a parameter, in characters
TRACKS_PER_TABLE = 3

Show = Callable[[object], str]


def print_report(report: Report, console: Console) -> None:
    """Print all of it, ``console.width`` wide."""
    for part in _parts(report, console):
        console.print(part, markup=False, highlight=False, overflow="fold")


def _parts(report: Report, console: Console) -> Iterator[Text | Table]:
    encoding = console.encoding

    def show(value: object) -> str:
        return shown(value, encoding)

    yield Text(show(report.path), style="bold")
    yield from _pairs(facts(report), show, console.width)
    for line in warnings(report):
        yield from _wrapped(show(line), console.width, "yellow")
    names = list(report.tracks)
    for first in range(0, len(names), TRACKS_PER_TABLE):
        yield Text()
        yield _figures({name: report.tracks[name] for name in names[first : first + TRACKS_PER_TABLE]}, show)
    if report.tracks:
        yield Text()
        for row in timeline(report, console.width, encoding).split("\n"):
            row.rstrip()
            yield row
        for line in legend(report):
            yield from _wrapped(f"  {line}", console.width, "dim")
    yield from _lists(report, show)
    for name, track in report.tracks.items():
        if track.packets and track.packets.spacing_ms:
            yield from _histogram(f"spacing of arrival, {show(name)}, ms", track.packets.spacing_ms, console)
        if track.packets and track.packets.jitter:
            title = f"jitter, {show(name)}: ms later than the least delayed packet, by its timestamp"
            yield from _histogram(title, track.packets.jitter.delay_ms, console)
    if report.unknown:
        yield Text("\nnot known", style="bold")
        yield from (Text(f"  {show(line)}") for line in report.unknown)


def _pairs(pairs: list[tuple[str, str]], show: Show, width: int) -> Iterator[Text]:
    """Names and values side by side; a value that needs more than a line goes on below its beginning."""
    names = [show(name)[:MAX_NAME] for name, _ in pairs]
    column = max(map(len, names)) + 4
    for name, (_, value) in zip(names, pairs, strict=True):
        first, *more = textwrap.wrap(show(value), max(width - column, 20)) or [""]
        yield Text(f"  {name}".ljust(column), style="dim").append(first, style="default")
        yield from (Text(" " * column + line) for line in more)


def _wrapped(line: str, width: int, style: str) -> Iterator[Text]:
    """A sentence in as many lines as it takes, all of them as far from the margin as it is."""
    margin = " " * (len(line) - len(line.lstrip()))
    for part in textwrap.wrap(line, max(width, 20), subsequent_indent=margin):
        yield Text(part, style=style)


def _figures(tracks: dict[str, TrackFigures], show: Show) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("", style="dim", no_wrap=True)
    for name in tracks:
        table.add_column(Text(show(name)), justify="right", overflow="fold")
    for name, values in rows(tracks):
        table.add_row(Text(f"  {name}"), *(Text(show(value)) for value in values))
    return table


def _lists(report: Report, show: Show) -> Iterator[Text]:
    lists = {
        "digits": [f"{digit.at_s:9.2f} s  {digit.digit}" for digit in report.digits],
        "marks": [
            f"{mark.at_s:9.2f} s  {number if number <= MAX_MARKS else '+'}  {mark.name}"
            for number, mark in enumerate(report.marks, 1)
        ],
        "gaps": [
            f"{gap.start_s:9.2f} s  {gap.end_s - gap.start_s:.3f} s {gap.cause} on {name}"
            for name, track in report.tracks.items()
            for gap in track.gaps
        ],
        "jumps of the peer's clock": [
            f"{jump.at_s:9.2f} s  on {name}: from {jump_ms(jump.peer_ms_before)} to {jump_ms(jump.peer_ms_after)} ms"
            for name, track in report.tracks.items()
            for jump in track.discontinuities
        ],
        "annotations": [bytes(annotation).decode(errors="replace") for annotation in report.annotations],
    }
    if report.messages:
        lists["messages that could not be used"] = [
            f"line {bad.line}, {bad.at_s:.3f} s, {bad.bytes} bytes: {bad.reason}"
            for bad in report.messages.first_unreadable
        ]
    for title, lines in lists.items():
        if lines:
            yield Text(f"\n{title}", style="bold")
            yield from (Text(f"  {show(line)}") for line in lines[:MAX_LINES])
            if len(lines) > MAX_LINES:
                yield Text(f"  and {len(lines) - MAX_LINES} more: --json has them", style="dim")


def _histogram(title: str, spread: Spread, console: Console) -> Iterator[Text]:
    full = "#" if characters(console.encoding) is ASCII else "█"
    most = max(one.count for one in spread.histogram)
    room = max(console.width - 30, 10)
    yield Text(f"\n{title}", style="bold")
    for one in spread.histogram:
        if not one.count:
            continue
        length = -(-one.count * room // most)
        line = Text(f"  {one.from_ms:>5} - {'...' if one.to_ms is None else one.to_ms:<5} ", style="dim")
        yield line.append(full * length, style="cyan").append(f" {one.count}", style="default")
