from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner, Result
from websockets.sync.server import Server, ServerConnection, serve

from receiver.cli.call import call, report
from receiver.simulate import Outcome

TOKEN = "s3cret-token"

APP = typer.Typer()
APP.command()(call)


class Listener:
    """A real server in a thread; it lets in whoever has the token."""

    def __init__(self) -> None:
        self._heard: list[dict[str, Any]] = []
        self._over = threading.Event()
        self.headers: dict[str, str] = {}
        self.server: Server = serve(self._listen, "127.0.0.1", 0, process_request=self._check)
        self.url = f"ws://127.0.0.1:{self.server.socket.getsockname()[1]}/stream"
        self._thread = threading.Thread(target=self.server.serve_forever)

    def _check(self, connection: ServerConnection, request: Any) -> Any:
        self.headers = {name.lower(): value for name, value in request.headers.raw_items()}
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            return connection.respond(HTTPStatus.UNAUTHORIZED, "who are you? [bold]\n")
        return None

    def _listen(self, connection: ServerConnection) -> None:
        self._heard += [json.loads(message) for message in connection]
        self._over.set()

    @property
    def heard(self) -> list[dict[str, Any]]:
        """Every message of the one call; waits until it is over."""
        assert self._over.wait(30)
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


@pytest.fixture
def audio(tmp_path: Path) -> str:
    soundfile.write(tmp_path / "a.wav", (np.arange(8000) % 999).astype(np.int16), 8000)
    return str(tmp_path / "a.wav")


def run(*arguments: str, token: str = TOKEN) -> Result:
    return CliRunner(env={"RECEIVER_TOKEN": token, "COLUMNS": "200"}).invoke(APP, [*arguments])


def test_a_call_that_the_server_takes_exits_0_and_says_what_was_sent(listener: Listener, audio: str) -> None:
    done = run("--to", listener.url, "--inbound", audio, "--speed", "max")
    assert done.exit_code == 0, done.output
    assert "101" in done.stdout and "53 messages" in done.stdout and "closed    1000" in done.stdout
    assert done.stderr == "connected\n"
    assert [message["event"] for message in listener.heard] == ["connected", "start", *["media"] * 50, "stop"]
    assert TOKEN not in done.output


def test_every_option_reaches_the_wire(listener: Listener, audio: str) -> None:
    done = run(
        *("--to", listener.url, "--inbound", audio, "--outbound", audio, "--codec", "l16", "--rate", "24000"),
        *("--byte-order", "big", "--packet-ms", "40", "--dialect", "twilio", "--parameter", "a=b=c", "--parameter"),
        *("d=", "--digits", "5@0.5,#", "--call-id", "CA1", "--header", "X-Trace:  t:1 ", "--speed", "100", "--no-stop"),
    )
    assert done.exit_code == 0, done.output
    start = listener.heard[1]["start"]
    assert start["customParameters"] == {"a": "b=c", "d": ""}
    assert start["mediaFormat"] == {"encoding": "audio/x-L16", "sampleRate": 24000, "channels": 1}
    assert (start["callSid"], start["tracks"]) == ("CA1", ["inbound", "outbound"])
    assert [message["dtmf"]["digit"] for message in listener.heard if "dtmf" in message] == ["5", "#"]
    assert [m["media"]["timestamp"] for m in listener.heard if "media" in m][:3] == ["0", "0", "40"]
    assert listener.heard[-1]["event"] != "stop"
    assert listener.headers["x-trace"] == "t:1"


def test_without_a_file_the_bundled_call_is_made(listener: Listener) -> None:
    done = run("--to", listener.url, "--speed", "max")
    assert done.exit_code == 0, done.output
    assert sum(message["event"] == "media" for message in listener.heard) == 2 * 1050
    assert done.stderr.splitlines() == ["connected", "10.0 of 21.0 s, 1003 messages", "20.0 of 21.0 s, 2003 messages"]


def test_a_stereo_file_is_both_sides(listener: Listener, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "s.flac", np.zeros((800, 2)), 8000)
    assert run("--to", listener.url, "--stereo", str(tmp_path / "s.flac"), "--speed", "max").exit_code == 0
    assert listener.heard[1]["start"]["tracks"] == ["inbound", "outbound"]


def test_a_refusal_exits_1_with_the_status_and_the_body(listener: Listener, audio: str) -> None:
    done = run("--to", listener.url, "--inbound", audio, "--token", "wr0ng")
    assert done.exit_code == 1
    assert "HTTP 401" in done.stdout and "who are you? [bold]" in done.stdout
    assert "wr0ng" not in done.output


def test_an_empty_token_is_no_token(listener: Listener, audio: str) -> None:
    assert run("--to", listener.url, "--inbound", audio, "--token", "").exit_code == 1
    assert "authorization" not in listener.headers


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        ((), "wss://127.0.0.1:{port}/stream?a=1"),
        (("--public-url", "wss://voice.example.com"), "wss://voice.example.com/stream?a=1"),
        (("--public-url", "https://voice.example.com/below"), "https://voice.example.com/below/stream?a=1"),
    ],
)
def test_a_call_can_be_signed_like_twilios(
    listener: Listener, audio: str, arguments: tuple[str, ...], address: str
) -> None:
    key = "s3cret-key"
    done = run("--to", f"{listener.url}?a=1", "--inbound", audio, "--speed", "max", "--sign-with", key, *arguments)
    assert done.exit_code == 0, done.output
    signed = address.format(port=listener.server.socket.getsockname()[1])
    digest = hmac.new(key.encode(), signed.encode(), hashlib.sha1).digest()
    assert listener.headers["x-twilio-signature"] == base64.b64encode(digest).decode()
    assert key not in done.output


def test_the_key_may_be_in_the_environment_and_without_one_nothing_is_signed(listener: Listener, audio: str) -> None:
    arguments = ["--to", listener.url, "--inbound", audio, "--speed", "max"]
    for key in ("s3cret-key", ""):
        done = CliRunner(env={"RECEIVER_TOKEN": TOKEN, "RECEIVER_TWILIO_KEY": key}).invoke(APP, arguments)
        assert done.exit_code == 0, done.output
        assert ("x-twilio-signature" in listener.headers) == bool(key)


def test_nobody_there_exits_1(audio: str) -> None:
    done = run("--to", "ws://127.0.0.1:1/", "--inbound", audio)
    assert done.exit_code == 1 and "failed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--inbound", "nowhere.wav"), "nowhere.wav: no such file"),
        (("--rate", "11025"), "PCMU has no rate 11025"),
        (("--parameter", "novalue"), "--parameter: must be NAME=VALUE"),
        (("--header", "s3cret"), "--header: must be NAME:VALUE"),
        (("--digits", "y"), "digits 'y'"),
        (("--speed", "fast"), "--speed fast: must be a number above 0, or max"),
        (("--speed", "-1"), "--speed -1"),
        (("--to", "http://127.0.0.1/"), "the URL must be"),
        (("--codec", "MP3"), "MP3"),
        (("--dialect", "klingon"), "klingon"),
        (("--packet-ms", "0"), "packets of 0 ms"),
        (("--sign-with", "s3cret", "--public-url", "ws://a.example"), "--public-url: must start with wss:// or https"),
        (("--public-url", "ws://s3cret@a.example"), "--public-url: must start with wss:// or https"),
    ],
)
def test_wrong_use_exits_2_and_names_what_is_wrong(arguments: tuple[str, ...], problem: str) -> None:
    done = run("--to", "ws://127.0.0.1:1/", *arguments)
    assert done.exit_code == 2
    assert problem in done.stderr and "s3cret" not in done.output


def test_a_terminal_shows_a_bar(listener: Listener, audio: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    done = run("--to", listener.url, "--inbound", audio, "--speed", "20")
    assert done.exit_code == 0, done.output
    assert "calling" in done.stderr and "━" in done.stderr


def test_ctrl_c_hangs_up_in_order(listener: Listener) -> None:
    program = "import typer; from receiver.cli.call import call; typer.run(call)"
    environment = os.environ | {"RECEIVER_TOKEN": TOKEN}
    with subprocess.Popen(
        [sys.executable, "-c", program, "--to", listener.url], stderr=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stderr is not None and process.stderr.readline() == "connected\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) not in (0, 2)
        assert "Traceback" not in process.stderr.read()
    assert listener.heard[0]["event"] == "connected" and listener.heard[-1]["event"] != "stop"


def test_the_report_tells_a_call_that_broke_off() -> None:
    outcome = Outcome(
        status=101, error="the connection ended", close_code=1008, close_reason="too fast", messages=10, received=2
    )
    lines = report(outcome)
    assert lines[1] == "failed    the connection ended"
    assert lines[2] == "sent      10 messages, 0 kB, not all of it"
    assert lines[-2:] == ["received  2 messages", "closed    1008 too fast"]


def test_that_nobody_listens_is_said_in_words() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        result = CliRunner().invoke(APP, ["--to", f"ws://127.0.0.1:{port}/stream"])
    assert result.exit_code == 1
    assert f"failed    nobody listens at 127.0.0.1:{port}\n" in result.stdout


def test_the_version_is_told() -> None:
    done = subprocess.run([sys.executable, "-m", "receiver", "--version"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout.strip()) == (0, version("media-stream-receiver"))
