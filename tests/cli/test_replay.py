from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result
from websockets.sync.server import Server, ServerConnection, serve

from receiver.captures.capture import VERSION, Batch, End, Header, encode_batch, encode_end, encode_header
from receiver.cli.replay import replay, report
from receiver.events import EndReason
from receiver.simulate.tally import Summary

TOKEN = "s3cret-token"

APP = typer.Typer()
APP.command()(replay)


class Listener:
    """A real server in a thread; it lets in whoever has the token, and keeps what each connection said."""

    def __init__(self) -> None:
        self._heard: list[list[str | bytes]] = []
        self.headers: dict[str, str] = {}
        self.begun = threading.Semaphore(0)
        self.over = threading.Semaphore(0)
        self.server: Server = serve(self._listen, "127.0.0.1", 0, process_request=self._check)
        self.url = f"ws://127.0.0.1:{self.server.socket.getsockname()[1]}/stream"
        self._thread = threading.Thread(target=self.server.serve_forever)

    def _check(self, connection: ServerConnection, request: Any) -> Any:
        self.headers = {name.lower(): value for name, value in request.headers.raw_items()}
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            return connection.respond(HTTPStatus.UNAUTHORIZED, "who are you? [bold]\n")
        return None

    def _listen(self, connection: ServerConnection) -> None:
        said: list[str | bytes] = []
        self._heard.append(said)
        for message in connection:
            said.append(message)
            if len(said) == 1:
                self.begun.release()
        self.over.release()

    def heard(self, connections: int = 1) -> list[list[str | bytes]]:
        """What each connection said; waits until so many are over."""
        for _ in range(connections):
            assert self.over.acquire(timeout=30)
        return self._heard

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self._thread.join()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as started:
        yield started


MESSAGES: list[str | bytes | int] = [
    '{"event":"connected"}',
    '{"event":"start","start":{"streamSid":"7d56cc11-536d-4a45-b4fb-ed3d55be843b","callSid":"c"}}',
    *(
        f'{{"event":"media","media":{{"track":"a","chunk":"{i}","timestamp":"{20 * i}","payload":"AAAA"}}}}'
        for i in range(1, 11)
    ),
    '{"event":"stop"}',
]


def write(folder: Path, *, ends_at: float = 0.2, withheld: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    batches = [Batch(0.0, MESSAGES[:-1] + ([99] if withheld else [])), Batch(ends_at, MESSAGES[-1:])]
    text = encode_header(Header(version=VERSION)) + b"".join(map(encode_batch, batches))
    (folder / "capture.jsonl").write_bytes(text + encode_end(End(ends_at, EndReason.STOP, 1000, "stop")))
    return folder


@pytest.fixture
def capture(tmp_path: Path) -> str:
    return str(write(tmp_path / "day" / "stream"))


def run(*arguments: str, token: str = TOKEN) -> Result:
    return CliRunner(env={"RECEIVER_TOKEN": token, "COLUMNS": "200"}).invoke(APP, [*arguments])


def test_a_capture_that_the_server_takes_exits_0_and_says_what_was_sent(listener: Listener, capture: str) -> None:
    done = run(capture, "--to", listener.url, "--header", "X-Trace:  t:1 ")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "streams   1: 1 finished" and lines[1].startswith("sent      13 messages, 0.0 MB")
    assert lines[2].startswith("took      0.2") and lines[3] == "closed    1000 (1)" and len(lines) == 4
    assert done.stderr == "" and TOKEN not in done.output
    assert listener.heard() == [MESSAGES] and listener.headers["x-trace"] == "t:1"


def test_folders_and_copies_and_loops(listener: Listener, tmp_path: Path) -> None:
    for name in ("a/1", "a/2", "b"):
        write(tmp_path / name)
    where = [str(tmp_path / "a"), str(tmp_path / "?")]
    done = run(*where, "--to", listener.url, "--speed", "max", "--copies", "2", "--loops", "2", "--spread", "0")
    assert done.exit_code == 0, done.output
    assert "streams   12: 12 finished" in done.stdout and "156 messages" in done.stdout
    heard = listener.heard(12)
    starts = {said[1] for said in heard}
    assert len(starts) == 12 and MESSAGES[1] not in starts
    assert all(len(said) == 13 and said[2:] == MESSAGES[2:] for said in heard)


def test_faults_with_their_seed(listener: Listener, capture: str) -> None:
    arguments = [capture, "--to", listener.url, "--speed", "max", "--fault", "gap:50%", "--fault", "no-stop"]
    for count, seed in enumerate(("4", "4", "5"), 1):
        assert run(*arguments, "--seed", seed).exit_code == 0
        assert len(listener.heard()) == count
    first, again, other = listener.heard(0)
    assert first == again != other
    assert 3 < len(first) < 12 and MESSAGES[-1] not in first


def test_the_summary_as_json(listener: Listener, tmp_path: Path) -> None:
    done = run(str(write(tmp_path / "a", withheld=True)), "--to", listener.url, "--speed", "max", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["streams"], told["finished"], told["withheld"], told["close_codes"]) == (1, 1, 1, {"1000": 1})


def test_a_refusal_exits_1_with_the_status_and_the_body(listener: Listener, capture: str) -> None:
    done = run(capture, "--to", listener.url, "--token", "wr0ng", "--copies", "2", "--spread", "0")
    assert done.exit_code == 1
    assert "streams   2: 0 finished, 2 refused with HTTP 401" in done.stdout
    assert "problem   refused with HTTP 401 who are you? [bold]" in done.stdout and "wr0ng" not in done.output


def test_nobody_there_exits_1(capture: str) -> None:
    done = run(capture, "--to", "ws://127.0.0.1:1/")
    assert done.exit_code == 1 and "1 without an answer" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("nowhere",), "nowhere: no such file or folder"),
        (("broken.jsonl",), "broken.jsonl, line 2: "),
        (("--header", "s3cret"), "--header: must be NAME:VALUE"),
        (("--speed", "fast"), "--speed fast: must be a number above 0, or max"),
        (("--to", "http://127.0.0.1/s3cret"), "the URL must be"),
        (("--fault", "gape"), "fault 'gape': no such kind; there are gap, silence"),
        (("--fault", "gap:9s"), "fault gap: begins at 9 s, and the stream has 0.2 s"),
        (("--fault", "cut", "--fault", "fin"), "a stream ends once"),
        (("--copies", "0"), "copies"),
        (("--loops", "-1"), "loops"),
        (("--spread", "-1"), "spread"),
        (("--copies", "99999999"), "open files, and this process may have"),
    ],
)
def test_wrong_use_exits_2_and_names_what_is_wrong(
    listener: Listener,
    capture: str,
    arguments: tuple[str, ...],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "broken.jsonl").write_bytes(encode_header(Header(version=VERSION)) + b"rubbish\n")
    monkeypatch.chdir(tmp_path)
    done = run(capture, "--to", listener.url, *arguments)
    assert done.exit_code == 2, done.output
    assert problem in done.stderr and "s3cret" not in done.output
    assert listener.heard(0) == []


@pytest.mark.parametrize("colour", [True, False])
def test_progress_is_shown(listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour: bool) -> None:
    monkeypatch.setattr(sys.modules["receiver.cli.replay"], "PLAIN_EVERY_S", 0.2)
    if colour:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
    done = run(str(write(tmp_path / "a", ends_at=2.0)), "--to", listener.url)
    assert done.exit_code == 0, done.output
    assert "1 of 1 streams up, 0 refused, 0 finished, 12 of 13 messages" in done.stderr
    assert ("━" in done.stderr) is colour


@pytest.mark.parametrize(("loops", "code"), [("0", 0), ("2", 1)])
def test_ctrl_c_ends_all_streams_in_order(listener: Listener, tmp_path: Path, loops: str, code: int) -> None:
    program = "import typer; from receiver.cli.replay import replay; typer.run(replay)"
    folder = write(tmp_path / "a", ends_at=600.0)
    arguments = [str(folder), "--to", listener.url, "--copies", "2", "--spread", "0", "--loops", loops]
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"RECEIVER_TOKEN": TOKEN},
        text=True,
    ) as process:
        for _ in range(2):
            assert listener.begun.acquire(timeout=30)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
    assert len(listener.heard(2)) == 2  # a close frame came: else the iteration would have raised
    assert process.returncode == code, errors
    assert "streams   2: 0 finished, 2 stopped before their end" in out and "closed    1000 (2)" in out
    assert errors == "stopping: every stream is ended in order\n"


def test_the_report_tells_everything() -> None:
    summary = Summary(
        streams=9,
        finished=1,
        refused={"401": 2, "503": 1},
        unreachable=1,
        broken=3,
        stopped=1,
        messages=1000,
        megabytes=1.25,
        received=4,
        withheld=5,
        seconds=2.0,
        messages_per_s=500.0,
        worst_late_s=0.0123,
        close_codes={"1000": 1, "1008": 3},
        problems=["one", "two\nlines"],
    )
    assert report(summary) == [
        "streams   9: 1 finished, 2 refused with HTTP 401, 1 refused with HTTP 503, 1 without an answer, 3 broken, "
        "1 stopped before their end",
        "sent      1000 messages, 1.2 MB",
        "took      2.00 s, 500 messages/s, at worst 12.3 ms late",
        "received  4 messages",
        "closed    1000 (1), 1008 (3)",
        "left out  5 messages, which were withheld when this was captured",
        "problem   one",
        "problem   two",
        "problem   lines",
    ]
