"""What the front page and the documentation say is so: commands, options, links, outputs, the eight-line sink."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from receiver.asgi.sweep import TOGETHER
from receiver.asgi.wire import QUIET_READS, READ_BYTES
from receiver.cli import COMMANDS, application
from receiver.config import Limits, Server, SinkConfig
from receiver.events import Cause
from receiver.files import ROUND_S
from receiver.media.reorder import HOLD_S, WINDOW
from receiver.media.timeline import AHEAD_MS, JITTER_MS
from receiver.sessions.settings import SessionSettings
from receiver.sessions.tolerance import BAD_WINDOW_S, REPEATED
from receiver.simulate import SPEECH, Call, messages, parse_keys, speak
from receiver.simulate.snippets import SNIPPETS, Target
from receiver.sinks.feed import OTHERS_LIMIT

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
TOKEN = "a-token-of-the-tests"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[str]:
    """The command lines of a page: those in blocks, and those in the running text."""
    text = page.read_text()
    for language in ("console", "sh"):
        for block in blocks(text, language):
            lines = block.splitlines()
            typed = [line[2:] for line in lines if line.startswith("$ ")] if language == "console" else lines
            for line in typed:
                yield from re.split(r"&&|\$\(|\)| \| ", line.partition("  #")[0])
    for span in re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)):
        yield " ".join(span.split())


def known_commands() -> dict[str, click.Command]:
    group = typer.main.get_command(application(*COMMANDS))
    return group.commands  # type: ignore[attr-defined]  # a group, as there are several


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_mentioned_exists_with_its_options(page: Path) -> None:
    known = known_commands()
    for line in commands(page):
        words = shlex.split(line.replace("…", "").replace("'", ""))
        if words[:1] == ["uvx"] and words[1:2] == ["media-stream-receiver"]:
            words = ["receiver", *words[2:]]
        if words[:1] != ["receiver"] or words[1:] in ([], ["--help"], ["--version"]) or "/" in line.split()[0]:
            continue
        assert words[1] in known, line
        options = {option for parameter in known[words[1]].params for option in parameter.opts}
        given = {word for word in words[2:] if re.fullmatch(r"-c|--[a-z-]+", word)}
        assert given <= options | {"--help"}, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_is_mentioned_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in commands(page):
        words = line.split()
        if words[:1] == ["make"]:
            assert {word for word in words[1:] if re.fullmatch(r"[a-z-]+", word)} <= targets, line


def test_the_front_page_has_its_commands() -> None:
    mentioned = set(commands(ROOT / "README.md"))
    for command in ("make demo", "make test", "uvx media-stream-receiver demo", "receiver serve --sink ./my_sink.py"):
        assert command in mentioned


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", page.read_text()):
        path = page.parent / target if target else page
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, anchor


def test_the_figures_of_the_architecture_are_those_of_the_code() -> None:
    text = " ".join((ROOT / "docs" / "architecture.md").read_text().split())
    settings = SessionSettings()
    for said in (
        f"agrees with that to less than {JITTER_MS} ms",
        f"more than {AHEAD_MS // 1000} s ahead of the time since the start message",
        f"until {WINDOW} chunks are spanned, or for {HOLD_S:.0f} s",
        f"A first chunk of at most {WINDOW}",
        f"more than {settings.bad_messages} bad messages in {BAD_WINDOW_S:.0f} s",
        f"more than {REPEATED} binary or oversized",
        f"reads every live socket once per `latency_ms` ({Server().latency_ms})",
        f"Up to {TOGETHER} connections are read in one turn",
        f"Of one connection {READ_BYTES // 1024} KiB are read at a time",
        f"quiet for {QUIET_READS} sweeps goes back to the loop",
        f"`dead_after_s` ({Limits().dead_after_s:.0f})",
        f"up to `buffer_s` ({SinkConfig(use='wav').buffer_s:.0f} s) of audio per track and {OTHERS_LIMIT:,} events",
        f"comes every {ROUND_S * 1000:.0f} ms at the latest",
    ):
        assert said in text


def test_the_table_of_figures_is_what_was_measured() -> None:
    measured = json.loads((ROOT / "benchmarks" / "results" / "bench.json").read_text())
    told = [
        line for line in README.partition("## How fast")[2].partition("\n## ")[0].splitlines() if line.startswith("| ")
    ][1:]
    assert told == [
        f"| {figure['what']} | {figure['asked']} | {figure['got']} | {figure['verdict']} |"
        for figure in measured["figures"]
        if figure["verdict"]
    ]
    assert measured["date"] in README and f"uvicorn {measured['versions']['uvicorn']}" in README


def test_the_causes_of_gaps_are_the_real_ones() -> None:
    (sentence,) = re.findall(r"a gap with a cause: (.*?)\.", README, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", sentence)) == {str(cause) for cause in Cause}


def test_the_table_of_surfaces_names_the_fields_that_the_snippets_use() -> None:
    rows = {line.split("|")[1].strip(): line for line in README.splitlines() if line.startswith("| ")}
    surfaces = {
        "SWML `stream`": ["swml"],
        "RELAY `call.stream`": ["relay-python", "relay-js"],
        "REST `calling.stream`": ["rest"],
        "compatibility REST `startStream`": ["compat-rest"],
        "cXML `<Start><Stream>`": ["cxml"],
    }
    fields = re.compile(r"authorization_?bearer_?token|auth_?bearer_?token|custom_?parameters|Parameter1\.\w+", re.I)
    for surface, kinds in surfaces.items():
        printed = "\n".join(SNIPPETS[kind](Target("wss://example.com/stream")) for kind in kinds)
        assert set(fields.findall(printed)) == set(fields.findall(rows[surface])), surface
        assert ("codec" in printed.lower()) == ("`codec`" in rows[surface]), surface


def test_the_snippet_on_the_front_page_is_what_is_printed() -> None:
    (shown,) = blocks(README, "json")
    printed = SNIPPETS["swml"](Target("wss://your-name.trycloudflare.com/stream"))
    pieces = [piece.strip("\n") for piece in re.split(r"^ *…\n", shown, flags=re.MULTILINE)]
    assert len(pieces) > 1
    positions = [printed.index(piece) for piece in pieces if piece]
    assert positions == sorted(positions)


def in_a_terminal(*command: str, columns: int = 80) -> list[str]:
    """What a program shows on a terminal, without what it took back, and without colours."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    environ |= {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    output = b""
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ) as process:
        os.close(theirs)
        try:
            while piece := os.read(ours, 65_536):
                output += piece
        except OSError:  # how Linux says that the other end is gone
            pass
    os.close(ours)
    assert process.returncode == 0, output.decode()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.decode()).replace("\r\n", "\n")
    return [line.rpartition("\r")[2].rstrip() for line in text.splitlines()]


def without_chance(lines: list[str]) -> list[str]:
    """Lines without what differs from run to run (ports, folders, times) and how often the bar was drawn."""
    text = "\n".join(line.rstrip() for line in lines)
    text = re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", text)
    text = re.sub(r"^\S*/receiver-demo-\w+/[\d-]+/[\da-f-]{36}$", "FOLDER", text, flags=re.MULTILINE)
    text = re.sub(r"^(calling with \w+).*", r"\1", text, flags=re.MULTILINE)
    return [line for line, _ in itertools.groupby(text.splitlines())]


def test_the_call_of_the_quickstart_is_as_long_as_it_says() -> None:
    text = (ROOT / "docs" / "quickstart.md").read_text()
    call = Call(
        inbound=SPEECH / "inbound.flac",
        outbound=SPEECH / "outbound.flac",
        keys=parse_keys("5@2.5"),
        parameters={"from": "+15550100"},
    )
    said = [message for _, message in messages(call)]
    assert f"sent      {len(said)} messages, {sum(map(len, said)) / 1000:.0f} kB, all of it" in text


@pytest.mark.timeout(180)  # its second call is transcribed, which a slow machine takes long for
def test_the_demo_prints_what_the_front_page_shows() -> None:
    (shown,) = (block for block in blocks(README, "console") if block.startswith("$ make demo"))
    lines = without_chance(shown.splitlines()[1:])
    assert lines.pop() == "…"
    printed = without_chance(in_a_terminal(sys.executable, "-m", "receiver", "demo"))
    assert printed[: len(lines)] == lines


def the_sink() -> str:
    (source,) = blocks(README, "python")
    return source


def test_the_sink_of_the_front_page_has_eight_lines() -> None:
    assert len(the_sink().splitlines()) == 8


def test_the_sink_of_the_front_page_hears_a_call(tmp_path: Path) -> None:
    (tmp_path / "my_sink.py").write_text(the_sink())
    command = [sys.executable, "-m", "receiver", "serve", "--sink", "./my_sink.py"]
    environ = os.environ | {
        "PYTHONUNBUFFERED": "1",
        "RECEIVER_TOKEN": TOKEN,
        "RECEIVER__SERVER__HOST": "127.0.0.1",
        "RECEIVER__SERVER__PORT": "0",
        "RECEIVER__MANAGEMENT__PORT": "0",
    }
    with subprocess.Popen(
        command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        try:
            told = (json.loads(line) for line in server.stderr)
            listening = next(line for line in told if line["event"] == "listening")
            url = listening["public"].replace("http", "ws", 1) + "/stream"
            call = Call(
                inbound=SPEECH / "inbound.flac",
                outbound=SPEECH / "outbound.flac",
                call_id="call-of-the-test",
                parameters={"from": "+15550100"},
            )
            outcome = asyncio.run(speak(call, url=url, token=TOKEN, speed=math.inf))
        finally:
            server.send_signal(signal.SIGINT)
        printed = server.communicate(timeout=30)[0].splitlines()
    assert outcome.ok and server.returncode == 0
    assert printed[0] == "call call-of-the-test {'from': '+15550100'}"
    levels = [line for line in printed if re.match(r"(inbound|outbound) +\d+\.\d s ", line)]
    assert len(levels) == 2 * 42 and any(line.endswith("#####") for line in levels)
    assert front_page_levels() <= {line.rstrip() for line in levels}


def front_page_levels() -> set[str]:
    (shown,) = (block for block in blocks(README, "console") if "--sink" in block)
    levels = {line for line in shown.splitlines() if re.match(r"(in|out)bound ", line)}
    assert levels
    return levels
