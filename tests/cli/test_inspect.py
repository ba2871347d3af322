"""``receiver inspect`` as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.captures.capture import Batch, End, Header, encode_batch, encode_end, encode_header
from receiver.events import EndReason
from receiver.simulate import SPEECH, Call, Key, messages


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A capture of the bundled call, without three of its messages."""
    call = Call(
        inbound=SPEECH / "inbound.flac", outbound=SPEECH / "outbound.flac", keys=(Key("5", 2.0),), call_id="call-1"
    )
    text = encode_header(Header(version=1, source="phone", resolution_ms=60))
    for number, (due_s, message) in enumerate(messages(call)):
        if number not in (500, 502, 504):
            text += encode_batch(Batch(due_s, [message]))
    file = tmp_path / "capture.jsonl"
    file.write_bytes(text + encode_end(End(21.0, EndReason.STOP)))
    return file


def run(*arguments: object, **variables: str) -> tuple[int, str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "FORCE_COLOR")}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "receiver", "inspect", *map(str, arguments)],
        capture_output=True,
        env={**kept, "PYTHONIOENCODING": "utf-8", **variables},
        timeout=50,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_elsewhere_than_on_a_terminal_it_is_plain_text_80_columns_wide(path: Path) -> None:
    code, out, err = run(path)
    assert (code, err) == (0, "")
    assert "\x1b" not in out and "\r" not in out
    assert max(map(len, out.splitlines())) == 80
    assert "  call      call-1\n" in out and "  duration  21.00 s\n" in out
    assert "Messages were read every 60 ms" in out and "lost, s" in out and " digits " in out


def test_json_is_one_object_and_nothing_else(path: Path) -> None:
    code, out, err = run(path, "--json")
    found = json.loads(out)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert {name: track["gaps_s"] for name, track in found["tracks"].items()} == {
        "inbound": {},
        "outbound": {"lost": 0.06},
    }
    assert found["digits"] == [{"at_s": 2.0, "digit": "5", "duration_ms": 250, "track": None}]


def test_pictures_are_written_beside_the_text(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from PIL import Image

    code, out, err = run(path, "--png", tmp_path / "a.png", "--html", tmp_path / "a.html")
    assert (code, err) == (0, "") and "duration" in out
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == 1540
    page = (tmp_path / "a.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and "<svg" in page and "call-1" in page


def test_a_folder_is_taken_as_well(path: Path) -> None:
    assert json.loads(run(path.parent, "--json")[1])["tracks"].keys() == {"inbound", "outbound"}


def test_a_damaged_capture_is_shown_up_to_there_and_ends_with_1(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200_000] + b"\nrubbish\n")
    code, out, err = run(path)
    assert code == 1 and "It could not be read any further" in out and "duration" in out
    assert err.startswith(f"receiver inspect: {path}, line ") and err.count("\n") == 1


@pytest.mark.parametrize("what", ["none.jsonl", ".", "noise.jsonl"])
def test_what_is_nothing_to_inspect_ends_with_2(what: str, tmp_path: Path) -> None:
    (tmp_path / "noise.jsonl").write_bytes(b"\x00\xff" * 1000)
    code, out, err = run(tmp_path / what)
    assert (code, out) == (2, "")
    assert err.startswith(f"receiver inspect: {tmp_path}") and "Traceback" not in err


def test_a_capture_is_never_written_over(path: Path) -> None:
    before = path.read_bytes()
    for option in ("--png", "--html"):
        code, _, err = run(path, option, path)
        assert code == 2 and f"{path}: the name must end in" in err
    assert path.read_bytes() == before


def test_where_a_picture_cannot_be_written_it_says_so(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    code, _, err = run(path, "--png", tmp_path / "none" / "a.png")
    assert code == 2 and "none/a.png: No such file or directory" in err


def test_without_matplotlib_the_extra_is_named(path: Path, tmp_path: Path) -> None:
    (tmp_path / "shim").mkdir()
    (tmp_path / "shim" / "sitecustomize.py").write_text("import sys\nsys.modules['matplotlib'] = None\n")
    where = os.pathsep.join(filter(None, [str(tmp_path / "shim"), os.environ.get("PYTHONPATH")]))
    code, _, err = run(path, "--png", tmp_path / "a.png", PYTHONPATH=where)
    assert code == 2 and "media-stream-receiver[plot]" in err and not (tmp_path / "a.png").exists()
    assert run(path, PYTHONPATH=where)[0] == 0
