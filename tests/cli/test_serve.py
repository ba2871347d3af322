"""``receiver serve`` as somebody starts it: its token, its sinks, what it says when it cannot."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import soundfile

from receiver.cli.serve import with_sinks
from receiver.config import Config
from receiver.errors import ConfigError
from receiver.simulate import SPEECH, Call, Outcome, speak

TOKEN = "a-token-of-the-tests"
LOADED = """
import sys
async def sink(stream, events):
    (stream.directory / "loaded").write_text(" ".join(sys.modules))
"""
NOTING = "async def sink(stream, events):\n    (stream.directory / '{name}').touch()\n"


def command(folder: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RECEIVER")}
    environment |= {
        "RECEIVER__SERVER__HOST": "127.0.0.1",
        "RECEIVER__SERVER__PORT": "0",
        "RECEIVER__MANAGEMENT__PORT": "0",
        "RECEIVER__LIMITS__BURST_S": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "receiver", "serve", *arguments],  # -P: as the installed command, not from here
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, **variables},
        cwd=folder,
    )


@contextmanager
def serving(folder: Path, *arguments: str, **variables: str) -> Iterator[Any]:
    with command(folder, *arguments, **variables) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def line(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    """The next log line of this event; the test's own timeout is how long that may take."""
    assert process.stderr is not None
    for text in process.stderr:
        said: dict[str, Any] = json.loads(text)
        if said["event"] == event:
            return said
    raise AssertionError(f"{event} was never said")


def call(listening: dict[str, Any], token: str) -> Outcome:
    url = listening["public"].replace("http", "ws", 1) + "/stream"
    return asyncio.run(speak(Call(inbound=SPEECH / "inbound.flac"), url=url, token=token, speed=1000))


def stopped(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Ask it to end at once; what it still said on stdout and stderr."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    return out, err


def refused(folder: Path, *arguments: str, **variables: str) -> str:
    """What it says, where it does not start: one line, exit code 2."""
    with serving(folder, *arguments, **variables) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    last: str = err.splitlines()[-1]
    assert "Traceback" not in err and all(text.startswith("{") for text in err.splitlines()[:-1])
    return last


def test_without_a_token_one_is_made_shown_once_on_stdout_and_good(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        assert process.stdout is not None
        listening = line(process, "listening")
        shown = [process.stdout.readline() for _ in range(4)]
        token = shown[2].strip()
        assert "RECEIVER_TOKEN" in shown[0] and len(token) >= 32
        assert call(listening, "another").status == 401
        assert call(listening, token).ok
        assert listening["config"] == "defaults"
        assert listening["recordings"] == str(tmp_path / "recordings")
        out, err = stopped(process)
    assert out == "" and token not in err + json.dumps(listening)
    (file,) = (tmp_path / "recordings").glob("*/*/inbound.wav")
    assert soundfile.info(file).frames > 0


def test_a_token_in_a_file_is_used_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(TOKEN + "\n")
    with serving(tmp_path, RECEIVER_TOKEN_FILE="secret") as process:
        listening = line(process, "listening")
        assert call(listening, TOKEN).ok
        assert call(listening, "another").status == 401
        out, err = stopped(process)
    assert out == "" and TOKEN not in err


def test_sinks_of_the_command_line_are_relative_to_where_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "chosen.toml").write_text('[recordings]\ndirectory = "here"\n')
    (tmp_path / "My Notes.py").write_text(NOTING.format(name="noted"))
    arguments = ("-c", "etc/chosen.toml", "--sink", "./My Notes.py")
    with serving(tmp_path, *arguments, RECEIVER_TOKEN=TOKEN) as process:
        listening = line(process, "listening")
        assert listening["sinks"] == ["wav", "my_notes"]
        assert listening["config"] == str(Path("etc/chosen.toml"))
        assert call(listening, TOKEN).ok
        stopped(process)
    (folder,) = (tmp_path / "etc" / "here").glob("*/*")
    assert (folder / "noted").exists() and (folder / "inbound.wav").exists()


def test_a_changed_sink_starts_it_anew_with_the_same_token(tmp_path: Path) -> None:
    """Also where a receiver.py lies about, which ``python -m receiver`` would run instead."""
    (tmp_path / "receiver.py").write_text("raise SystemExit('the wrong one')\n")
    sink = tmp_path / "mine.py"
    sink.write_text(NOTING.format(name="first"))
    with serving(tmp_path, "--sink", "./mine.py", "--reload") as process:
        assert process.stdout is not None
        shadowed = line(process, "package_shadowed")
        assert (shadowed["file"], shadowed["level"]) == (str(tmp_path / "receiver.py"), "warning")
        line(process, "listening")
        token = [process.stdout.readline() for _ in range(4)][2].strip()
        before = sink.stat().st_mtime_ns
        sink.write_text(NOTING.format(name="second"))
        os.utime(sink, ns=(before + 10**9, before + 10**9))
        assert line(process, "reloading")["files"] == [str(sink)]
        again = line(process, "listening")
        assert call(again, token).ok
        out, _ = stopped(process)
    assert out == ""
    assert list((tmp_path / "recordings").glob("*/*/second"))
    assert not list((tmp_path / "recordings").glob("*/*/first"))


def test_a_sink_of_a_name_that_is_there_already_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wav.py").write_text(NOTING.format(name="noted"))
    said = refused(tmp_path, "--sink", "./wav.py", RECEIVER_TOKEN=TOKEN)
    assert said.startswith("receiver: sinks.wav: --sink") and "there is a sink of this name already" in said


def test_a_sink_whose_file_would_hide_this_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "receiver.py").write_text(NOTING.format(name="noted"))
    said = refused(tmp_path, "--sink", "./receiver.py", RECEIVER_TOKEN=TOKEN)
    assert said.startswith("receiver: sinks.receiver.use: ") and str(tmp_path / "receiver.py") in said
    assert "hides this package" in said


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[server]\nprot = 1\n", "receiver: server.prot: is not a key here"),
        ('[server]\nlatency_ms = "60"\n', "receiver: server.latency_ms: "),
        ('[sinks.mine]\nuse = "./missing.py"\n', "receiver: sinks.mine.use: there is no file"),
        ('[recordings]\ndirectory = "chosen.toml/in/the/way"\n', "receiver: recordings.directory: cannot be made"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_one_line_that_names_the_key(
    tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "chosen.toml").write_text(text)
    assert refused(tmp_path, "-c", "chosen.toml", RECEIVER_TOKEN=TOKEN).startswith(problem)


@pytest.mark.parametrize("listener", ["SERVER", "MANAGEMENT"])
def test_a_taken_port_is_one_line_that_names_the_key(tmp_path: Path, listener: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused(tmp_path, RECEIVER_TOKEN=TOKEN, **{f"RECEIVER__{listener}__PORT": port})
    assert said.startswith(f"receiver: {listener.lower()}.port: cannot listen on 127.0.0.1:{port}: ")


def test_ipv6_addresses_are_said_in_brackets(tmp_path: Path) -> None:
    with serving(tmp_path, RECEIVER_TOKEN=TOKEN, RECEIVER__SERVER__HOST="::1") as process:
        listening = line(process, "listening")
        assert listening["public"].startswith("http://[::1]:")
        assert call(listening, TOKEN).ok
        stopped(process)


@pytest.mark.parametrize(
    ("use", "name"),
    [
        ("/a/My-Sink.v2.py", "my_sink_v2"),
        ("/a/2fast.py", "sink_2fast"),
        ("/a/_.py", "sink_"),
        ("package.module:attribute", "package"),
        ("installed", "installed"),
    ],
)
def test_sinks_are_named_after_what_they_are(use: str, name: str) -> None:
    config = with_sinks(Config(), [use])
    assert list(config.sinks) == ["wav", name] and config.sinks[name].use == use


def test_two_sinks_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="already") as clash:
        with_sinks(Config(), ["/a/notes.py", "/b/notes.py"])
    assert clash.value.key == "sinks.notes"


def test_a_first_stream_waits_for_nothing_to_load_that_serving_does_not_need(tmp_path: Path) -> None:
    """A start takes as long as its imports: what reads files, draws, calls or decodes what nobody sent is not there."""
    (tmp_path / "mine.py").write_text(LOADED)
    with serving(tmp_path, "--sink", "./mine.py", RECEIVER_TOKEN=TOKEN) as process:
        assert call(line(process, "listening"), TOKEN).ok
        stopped(process)
    (file,) = tmp_path.glob("recordings/*/*/loaded")
    loaded = set(file.read_text().split())
    assert {"receiver.asgi.receiver", "receiver_plugins.wav"} <= loaded
    libraries = {"soundfile", "matplotlib", "PIL", "av", "G722", "rich.progress", "websockets.asyncio.client", "pytest"}
    assert loaded & libraries == set()
    ours = {"simulate", "inspection", "offline", "waveform", "testing", "media.pyav", "cli.demo"}
    assert loaded & {f"receiver.{name}" for name in ours} == set()


def test_help_says_what_it_does(tmp_path: Path) -> None:
    with serving(tmp_path, "--help") as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert "Receive streams until SIGTERM or Ctrl-C." in out
