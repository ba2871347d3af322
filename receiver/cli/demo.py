"""``receiver demo``: the whole way of a call, without an account, a telephone or a question."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import secrets
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from receiver.audio import Encoding
from receiver.config import DEFAULT_TOKEN, Config, default_sinks
from receiver.errors import ReceiverError
from receiver.logs import configure
from receiver.media.opus import backend
from receiver.simulate import SPEECH, Call, Key, Outcome, duration_s, speak
from receiver.simulate.connection import Progress as Report
from receiver.simulate.side import Side
from receiver.waveform import draw, measure

SPEED = 8.0
"""Times real time: both calls fit into a few seconds and stay inside the burst that the server allows."""

WIDTH = 100
"""Columns, where the terminal has more."""


TRANSCRIBED = "transcribe"
"""The parameter of the call that is transcribed."""

FINISH_S = 120.0
"""How long the transcript may take behind the end of its call, on a slow machine."""


class DemoFailed(ReceiverError):
    """The demo did not come to its end."""


def demo(
    directory: Annotated[
        Path | None,
        typer.Option(help="Where to record; a new temporary folder otherwise.", show_default=False, metavar="DIR"),
    ] = None,
) -> None:
    """Receive two calls on this machine, and show the recordings.

    It starts a server on a free port, makes the bundled call to it, in PCMU and in OPUS, and ends by itself. The second
    one is transcribed, where the extra transcribe is installed.
    """
    configure("warning")
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    root = directory or Path(tempfile.mkdtemp(prefix="receiver-demo-"))
    try:
        asyncio.run(_demo(console, root.resolve()))
    except DemoFailed as error:
        console.print(f"receiver demo: {error}", style="red")
        raise typer.Exit(1) from None


async def _demo(console: Console, root: Path) -> None:
    from receiver.asgi.receiver import Receiver
    from receiver.asgi.server import listening

    token = secrets.token_urlsafe(32)
    transcribes = importlib.util.find_spec("pocketsphinx") is not None
    config = Config.model_validate(
        {
            "server": {"host": "127.0.0.1", "port": 0},
            "management": {"port": 0},
            "sources": {"default": {"auth": {"use": "bearer", "tokens": [{"name": "demo", "env": DEFAULT_TOKEN}]}}},
            "recordings": {"directory": str(root)},
            "captures": {"enabled": True},  # to replay, process and inspect
            "privacy": {"digits": "keep"},  # nobody's
            "sinks": {**default_sinks(), **(_transcription() if transcribes else {})},
        },
        context={"environ": {DEFAULT_TOKEN: token}, "base": root},
    )
    async with listening(Receiver(config)) as addresses:
        url = f"ws://127.0.0.1:{addresses.public[1]}/stream"
        console.print(f"A receiver listens at [bold]{url}[/bold], with a token made for this run.")
        console.print(
            f"A call of two sides, {_length_s():.0f} s, is streamed to it, {SPEED:.0f} times faster than real time.\n"
        )
        second = Encoding.OPUS
        if backend() is None:
            console.print("OPUS needs libopus or PyAV, and neither is here: L16 stands in for it.\n")
            second = Encoding.L16
        for encoding, parameters in ((Encoding.PCMU, {}), (second, {TRANSCRIBED: "yes"} if transcribes else {})):
            folder = await _call(console, url, token, encoding, root, parameters)
            _show(console, folder)
        _show_transcript(console, folder if transcribes else None)
    console.print(f"Listen to them: [bold]{root}[/bold]")
    console.print(f"Look at one:    {_command()} inspect {folder}")


def _transcription() -> dict[str, object]:
    """The sink for the call that has the better sound: a telephone's 8 kHz are too few for the engine in the box."""
    return {"transcribe": {"use": "transcribe", "when": {TRANSCRIBED: "yes"}, "finish_timeout_s": FINISH_S}}


async def _call(
    console: Console, url: str, token: str, encoding: Encoding, root: Path, parameters: dict[str, str]
) -> Path:
    """Make one call; the answer is the folder of its recording, which is final."""
    call = Call(
        inbound=SPEECH / "inbound.flac",
        outbound=SPEECH / "outbound.flac",
        encoding=encoding,
        parameters={"from": "+15550100", "to": "+15550199", "direction": "inbound", **parameters},
        keys=(Key("5", 9.0),),
    )
    before = _final(root)
    with _progress(console, encoding) as report:
        outcome = await speak(call, url=url, token=token, speed=SPEED, progress=report)
    if not outcome.ok:
        raise DemoFailed(_failure(outcome))
    with _waiting(console, "transcribing") if TRANSCRIBED in parameters else nullcontext():
        for _ in range(round((FINISH_S if TRANSCRIBED in parameters else 10) * 100)):
            if new := _final(root) - before:
                return new.pop()
            await asyncio.sleep(0.01)
    raise DemoFailed(f"no recording appeared in {root}")


def _command() -> str:
    """How to call this command here: as it was called, where the shell would not find it by its name."""
    if shutil.which("receiver"):
        return "receiver"
    if Path(sys.argv[0]).name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m receiver"
    return shlex.quote(os.path.relpath(sys.argv[0]))


def _length_s() -> float:
    return duration_s([Side(SPEECH / "inbound.flac"), Side(SPEECH / "outbound.flac")])


def _final(root: Path) -> set[Path]:
    """The folders that are finished: a stream's journal goes last."""
    told = {path.parent for path in root.glob("*/*/stream.json")}
    return {folder for folder in told if not (folder / "journal.jsonl").exists()}


def _failure(outcome: Outcome) -> str:
    return f"the call failed: {outcome.error or outcome.body or outcome.close_reason or outcome.status}"


@contextmanager
def _progress(console: Console, encoding: Encoding) -> Iterator[Report]:
    """A bar on a terminal, a line elsewhere."""
    if not console.is_terminal:
        console.print(f"calling with {encoding} …")
        yield lambda _position, _sent: None
        return
    columns = (TextColumn("calling with {task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(encoding.value, total=_length_s())
        yield lambda position, _sent: bar.update(task, completed=position)
        bar.update(task, completed=_length_s())


def _waiting(console: Console, what: str) -> AbstractContextManager[object]:
    """Something that moves on a terminal, a line elsewhere."""
    if console.is_terminal:
        return console.status(what)
    console.print(f"{what} …")
    return nullcontext()


def _show_transcript(console: Console, folder: Path | None) -> None:
    """Who said what; without a folder, what it would take."""
    if folder is None:
        console.print("For a transcript of it: pip install 'media-stream-receiver[transcribe]'\n", markup=False)
        return
    console.print("transcript", style="bold")
    console.print((folder / "transcript.txt").read_text(), markup=False)
    console.print("These are the words of pocketsphinx, which is small. There are better engines.\n")


def _show(console: Console, folder: Path) -> None:
    """What was recorded, as ``stream.json`` tells it, and how it looks."""
    told = json.loads((folder / "stream.json").read_text())
    console.print(f"\n{folder}", style="bold")
    console.print(f"  parameters  {json.dumps(told['parameters'])}")
    digits = ", ".join(f"{digit['digit']} at {digit['position'] / digit['rate']:.2f} s" for digit in told["digits"])
    console.print(f"  digits      {digits or 'none'}")
    console.print(f"  end         {told['end']['reason']}\n")
    table = Table("file", "duration", "gaps", "peak", "loudness", box=None, pad_edge=False, padding=(0, 3, 0, 2))
    pictures = []
    for file in told["files"]:
        if file["kind"] != "audio":
            continue
        path = folder / file["path"]
        width = min(console.width, WIDTH) - 10
        shape = measure(path, width)
        track = told["tracks"].get(path.stem)
        gaps = [
            (gap["start"] / told["format"]["rate"], gap["end"] / told["format"]["rate"], gap["cause"])
            for gap in (track["gaps"] if track else ())
        ]
        missing = sum(end - start for start, end, _ in gaps)
        table.add_row(
            file["path"],
            f"{shape.duration_s:.2f} s",
            f"{len(gaps)}, {missing:.2f} s" if track else "",
            f"{shape.levels.peak_dbfs:.1f} dBFS",
            f"{shape.levels.rms_dbfs:.1f} dBFS",
        )
        if track:
            pictures.append((path.stem, draw(shape, gaps, encoding=sys.stdout.encoding or "ascii")))
    console.print(table)
    for name, picture in pictures:
        console.print(f"\n{name}", style="bold")
        console.print(picture)
    console.print()
