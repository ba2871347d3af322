"""``receiver demo``: both calls, real files, and a picture, on a terminal and elsewhere."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
import textwrap
from fcntl import ioctl
from pathlib import Path

import pytest
import soundfile
from rich.console import Console

from receiver.cli.demo import _command, _waiting
from receiver.media.opus import backend

DURATION_S = 21.0
TRANSCRIBES = importlib.util.find_spec("pocketsphinx") is not None
WITHOUT_OPUS = """
    import ctypes
    import ctypes.util
    import sys

    sys.modules["av"] = None  # importing it is an ImportError
    sys.modules["pocketsphinx"] = None
    ctypes.util.find_library = lambda name: None


    class NoOpus(ctypes.PyDLL):
        def __init__(self, name, *arguments, **options):
            if name and "opus" in str(name):
                raise OSError(f"{name}: not here")
            super().__init__(name, *arguments, **options)


    ctypes.PyDLL = NoOpus
"""


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RECEIVER")}
    return {**kept, "PYTHONIOENCODING": "utf-8", **variables}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "receiver", "demo", *arguments]


def check_recorded(root: Path, codecs: list[str], *, transcribed: bool) -> list[Path]:
    """Both calls lie there, whole."""
    folders = sorted(path.parent for path in root.glob("*/*/stream.json"))
    told = [json.loads((folder / "stream.json").read_text()) for folder in folders]
    assert [content["format"]["encoding"] for content in told] == codecs
    for folder, content in zip(folders, told, strict=True):
        names = {"inbound.wav", "outbound.wav", "stereo.wav"}
        made = (
            {"transcript.jsonl", "transcript.vtt", "transcript.txt"} if transcribed and folder is folders[1] else set()
        )
        assert {path.name for path in folder.iterdir()} == names | made | {"stream.json", "capture.jsonl"}
        for name in names:
            info = soundfile.info(folder / name)
            assert info.duration == pytest.approx(DURATION_S, abs=0.02)
            assert info.channels == (2 if name == "stereo.wav" else 1)
            assert abs(soundfile.read(folder / name)[0]).max() > 0.1
        assert (content["end"]["reason"], content["end"]["stop_received"]) == ("stop", True)
        assert content["parameters"]["from"] == "+15550100"
        assert [digit["digit"] for digit in content["digits"]] == ["5"]
        assert all(track["gaps"] == [] for track in content["tracks"].values())
    return folders


@pytest.mark.timeout(180)  # a slow machine takes long to transcribe a call
@pytest.mark.skipif(backend() is None, reason="needs libopus or PyAV")
def test_elsewhere_than_on_a_terminal_it_prints_plain_lines(tmp_path: Path) -> None:
    done = subprocess.run(
        command("--directory", "demo"), capture_output=True, cwd=tmp_path, env=environment(), timeout=170, check=False
    )
    out = done.stdout.decode()
    assert (done.returncode, done.stderr.decode()) == (0, "")
    folders = check_recorded(tmp_path / "demo", ["PCMU", "OPUS"], transcribed=TRANSCRIBES)
    assert "\x1b" not in out and "\r" not in out
    assert "calling with PCMU …" in out and "calling with OPUS …" in out
    assert re.search(r"listens at ws://127\.0\.0\.1:\d+/stream", out)
    for folder in folders:
        assert f"\n{folder}\n" in out
    assert out.count('parameters  {"from": "+15550100"') == 2
    assert len(re.findall(r"digits      5 at \d+\.\d\d s", out)) == 2
    assert len(re.findall(r"(?:in|out)bound\.wav +2[01]\.\d\d s +0, 0\.00 s +-?\d+\.\d dBFS +-\d+\.\d dBFS", out)) == 4
    assert len(re.findall(r"stereo\.wav +2[01]\.\d\d s", out)) == 2
    assert out.count("0 s ") >= 4 and "█" in out  # the pictures and their time axes
    assert f"\nListen to them: {tmp_path / 'demo'}\n" in out
    if TRANSCRIBES:
        assert out.count("\ntranscribing …\n") == 1
        check_transcript(out, folders[1])
    look = "receiver" if shutil.which("receiver") else f"{sys.executable} -m receiver"
    assert out.endswith(f"\nLook at one:    {look} inspect {folders[1]}\n")
    drawn = [line for line in out.splitlines() if "█" in line or "──" in line]
    assert drawn and max(map(len, drawn)) <= 80  # as everywhere else than on a terminal


def test_on_a_terminal_there_is_a_bar_and_without_an_opus_library_l16_stands_in(tmp_path: Path) -> None:
    """Where nobody says where to record, it is a new folder of its own."""
    (tmp_path / "shim").mkdir()
    (tmp_path / "shim" / "sitecustomize.py").write_text(textwrap.dedent(WITHOUT_OPUS))
    path = os.pathsep.join(filter(None, [str(tmp_path / "shim"), os.environ.get("PYTHONPATH")]))
    variables = environment(PYTHONPATH=path, TMPDIR=str(tmp_path), TERM="xterm-256color")
    out = in_a_terminal(tmp_path, variables)
    (root,) = tmp_path.glob("receiver-demo-*")
    check_recorded(root, ["PCMU", "L16"], transcribed=False)
    assert text_of(out).count("For a transcript of it: pip install 'media-stream-receiver[transcribe]'") == 1
    assert "\x1b[" in out and "━" in out  # colours, a bar
    text = text_of(out)
    assert "L16 stands in for it" in text
    assert "calling with PCMU" in text and "calling with L16" in text
    assert "calling with PCMU …" not in text
    assert f"Listen to them: {root}" in text


def in_a_terminal(folder: Path, variables: dict[str, str]) -> str:
    """What the demo shows on a terminal of 120 columns."""
    variables = {name: value for name, value in variables.items() if name not in ("COLUMNS", "LINES")}
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    shown = b""
    with subprocess.Popen(command(), stdin=theirs, stdout=theirs, stderr=theirs, env=variables, cwd=folder) as demo:
        os.close(theirs)
        try:
            while piece := _read(ours):
                shown += piece
        except BaseException:
            demo.kill()
            raise
        finally:
            os.close(ours)
    assert demo.returncode == 0, shown.decode()
    return shown.decode()


def text_of(out: str) -> str:
    """Without colours, and whatever else moves a terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out)


def test_while_the_transcript_is_made_something_moves_on_a_terminal() -> None:
    shown = io.StringIO()
    with _waiting(Console(file=shown, force_terminal=True), "transcribing"):
        pass
    assert "transcribing" in shown.getvalue() and "\x1b[" in shown.getvalue()


def check_transcript(out: str, folder: Path) -> None:
    """It is printed, both sides in the order of time."""
    written = (folder / "transcript.txt").read_text()
    assert f"\ntranscript\n{written}" in out
    times = [60 * int(minutes) + int(seconds) for minutes, seconds in re.findall(r"^ *(\d+):(\d\d)  ", written, re.M)]
    assert times == sorted(times) and len(times) >= 5
    assert {line.split()[1] for line in written.splitlines()} == {"inbound", "outbound"}
    assert "anything else" in written


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # the last program has closed the other side
        return b""


def test_what_to_type_next_is_found_by_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after ``make demo``, where the environment is not active."""
    program = tmp_path / ".venv" / "bin" / "receiver"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program), "demo"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _command() == ".venv/bin/receiver"
    monkeypatch.setenv("PATH", str(program.parent))
    assert _command() == "receiver"


def test_a_place_where_nothing_can_be_recorded_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = subprocess.run(
        command("--directory", "file"), capture_output=True, cwd=tmp_path, env=environment(), timeout=50, check=False
    )
    assert done.returncode == 2
    assert done.stderr.decode().startswith("receiver: recordings.directory: cannot be made")
    assert b"Traceback" not in done.stdout + done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder of the kernel's, where nothing can be made")
def test_a_call_that_fails_is_said_and_fails_the_demo(tmp_path: Path) -> None:
    done = subprocess.run(
        command("--directory", "/proc/self/fdinfo"),
        capture_output=True,
        cwd=tmp_path,
        env=environment(),
        timeout=50,
        check=False,
    )
    assert done.returncode == 1
    assert "receiver demo: the call failed: " in done.stdout.decode()
    assert b"Traceback" not in done.stdout
