"""A report as one HTML page: nothing to load, nothing to run, and every word of a peer escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from receiver.inspection.facts import facts, warnings
from receiver.inspection.figures import jump_ms, rows
from receiver.inspection.report import Report
from receiver.inspection.shown import shown

MAX_ROWS = 1000
"""Of a table; ``--json`` has all of it."""

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; background: #fff; max-width: 1180px; margin: 2em auto;
       padding: 0 1em; }
h1 { font-size: 1.25em; overflow-wrap: anywhere; } h2 { font-size: 1.05em; margin: 2em 0 .5em; }
svg { width: 100%; height: auto; }
table { border-collapse: collapse; } th { text-align: left; font-weight: 600; }
td, th { padding: .15em 1.4em .15em 0; vertical-align: top; overflow-wrap: anywhere; border-bottom: 1px solid #eee; }
.facts th { font-weight: 400; color: #666; white-space: pre; }
.figures th:first-child { font-weight: 400; color: #666; white-space: pre; }
.figures td { text-align: right; font-variant-numeric: tabular-nums; }
.warning { background: #fff6e0; padding: .4em .8em; margin: .8em 0; list-style: none; white-space: pre-wrap; }
""".strip()


def render(report: Report, picture: str) -> bytes:
    """The page. ``picture`` is an SVG element of ours, put in as it is."""
    title = escape(shown(report.path))
    body = [f"<h1>{title}</h1>", _table("facts", facts(report))]
    if said := [f"<li>{escape(shown(line, limit=1000))}</li>" for line in warnings(report)]:
        body.append(f'<ul class="warning">{"".join(said)}</ul>')
    body.append(picture)
    if report.tracks:
        figures = [(name, *values) for name, values in rows(report.tracks)]
        body += ["<h2>Tracks</h2>", _table("figures", figures, ["", *report.tracks])]
    for heading, head, lines in _lists(report):
        if lines:
            body += [f"<h2>{heading}</h2>", _table("list", lines[:MAX_ROWS], head)]
            if len(lines) > MAX_ROWS:
                body.append(f"<p>And {len(lines) - MAX_ROWS} more.</p>")
    if report.unknown:
        items = "".join(f"<li>{escape(shown(line))}</li>" for line in report.unknown)
        body += ["<h2>Not known</h2>", f"<ul>{items}</ul>"]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    header = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{STYLE}</style>'
    )
    page = ["<!DOCTYPE html>", f'<html lang="en"><head>{header}</head><body>', *body, "</body></html>", ""]
    return "\n".join(page).encode()


def _lists(report: Report) -> list[tuple[str, list[str], list[tuple[str, ...]]]]:
    messages = report.messages
    return [
        ("Digits", ["s", "key"], [(f"{digit.at_s:.2f}", digit.digit) for digit in report.digits]),
        ("Marks", ["s", "name"], [(f"{mark.at_s:.2f}", mark.name) for mark in report.marks]),
        (
            "Gaps",
            ["s", "length, s", "cause", "track"],
            [
                (f"{gap.start_s:.3f}", f"{gap.end_s - gap.start_s:.3f}", gap.cause.value, name)
                for name, track in report.tracks.items()
                for gap in track.gaps
            ],
        ),
        (
            "Jumps of the peer's clock",
            ["s", "from, ms", "to, ms", "track"],
            [
                (f"{jump.at_s:.3f}", jump_ms(jump.peer_ms_before), jump_ms(jump.peer_ms_after), name)
                for name, track in report.tracks.items()
                for jump in track.discontinuities
            ],
        ),
        (
            "Duplicate, late and reordered messages",
            ["s", "what", "messages", "track"],
            [
                (f"{odd.at_s:.3f}", odd.kind, str(odd.count), name)
                for name, track in report.tracks.items()
                for odd in track.odd
            ],
        ),
        (
            "Messages that could not be used",
            ["line", "s", "bytes", "why"],
            [
                (str(bad.line), f"{bad.at_s:.3f}", str(bad.bytes), bad.reason)
                for bad in (messages.first_unreadable if messages else ())
            ],
        ),
        ("Annotations", ["as JSON"], [(bytes(one).decode(errors="replace"),) for one in report.annotations]),
    ]


def _table(kind: str, lines: Iterable[Sequence[str]], head: Sequence[str] = ()) -> str:
    """A table; the first column of ``facts`` and ``figures`` is made of names."""
    named = kind != "list"
    text = [f'<table class="{kind}">']
    if head:
        text.append(f"<tr>{''.join(f'<th>{escape(shown(cell))}</th>' for cell in head)}</tr>")
    for line in lines:
        cells = [escape(shown(cell, limit=1000)) for cell in line]
        first = f"<th>{cells[0]}</th>" if named else f"<td>{cells[0]}</td>"
        text.append(f"<tr>{first}{''.join(f'<td>{cell}</td>' for cell in cells[1:])}</tr>")
    return "\n".join([*text, "</table>"])
