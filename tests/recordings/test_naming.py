"""Where folders go, whatever a peer calls itself."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.audio import AudioFormat, Encoding
from receiver.recordings import check_template
from receiver.recordings.naming import ATTEMPTS, MAX_COMPONENT, SUFFIXES, components, make_directory, safe
from receiver.stream import StreamFacts

HOSTILE = [
    "..",
    ".",
    "...",
    "",
    "../../etc/passwd",
    "/etc/passwd",
    "%2e%2e%2f",
    "..\\..\\windows",
    "C:\\x",
    "CON",
    "con.wav",
    "NUL",
    "Lpt1.txt",
    "a" * 300,
    "." * 300,
    "x\0y",
    "\n\r\x1b[2J",
    "{date}",
    "%s%n",
    "🎉",
    "\u202egpj.exe",
    "\ud800",
    " ",
    "-rf",
    ".hidden",
    "end.",
]


def facts(**changes: Any) -> StreamFacts:
    given: dict[str, Any] = {
        "id": "0199-ours",
        "source": "default",
        "dialect": "signalwire",
        "stream_id": "theirs",
        "call_id": "CA1",
        "account_id": None,
        "tracks": ("inbound",),
        "format": AudioFormat(Encoding.PCMU, 8000),
        "parameters": {},
        "path_parameters": {},
        "peer_address": "192.0.2.1",
        "token": "main",
        "started": datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC),
    }
    return StreamFacts(**{**given, **changes})


def test_a_template_is_filled_with_what_it_names() -> None:
    found = components("{source}/{date}/{call_id}-{parameters.who}/{stream_id}", facts(parameters={"who": "Ann B."}))
    assert found == ["default", "2026-11-21", "CA1-Ann_B_", "0199-ours"]


def test_text_may_stand_behind_what_is_filled_in() -> None:
    assert components("{source}-calls/{stream_id}.d", facts()) == ["default-calls", "0199-ours.d"]


def test_what_is_missing_or_no_text_still_has_a_name() -> None:
    parameters = {"n": 7, "none": None, "map": {"a": [1]}, "yes": True}
    template = "{call_id}/{parameters.gone}/{parameters.n}/{parameters.none}/{parameters.map}/{parameters.yes}"
    found = components(template, facts(call_id=None, parameters=parameters))
    assert found == ["_", "_", "7", "_", "__a___1__", "true"]


@pytest.mark.parametrize("template", ["", "/x", "x//y", "../x", "x/..", ".", "{who}", "{}", "{date!r}", "{date:x}"])
def test_a_template_that_cannot_be_filled_is_refused(template: str) -> None:
    with pytest.raises(ValueError):
        check_template(template)


def test_the_default_template_is_accepted() -> None:
    check_template("{date}/{stream_id}")


@pytest.mark.parametrize("name", ["con", "CON", "aux.txt", "com1", "LPT9.x.y"])
def test_no_name_is_a_device_of_windows(name: str) -> None:
    assert safe(name) == f"_{name}"


@given(st.text() | st.sampled_from(HOSTILE) | st.dictionaries(st.text(), st.integers()))
def test_whatever_comes_one_harmless_component_goes(value: Any) -> None:
    name = safe(value)
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", name)
    assert len(name) <= MAX_COMPONENT
    assert not name.startswith(".")
    assert not name.endswith(".")
    assert Path(name).name == name


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_ids_and_parameters_stay_below_the_root(tmp_path: Path, value: str) -> None:
    root = tmp_path / "root"
    told = facts(call_id=value, parameters={"x": value})
    made = make_directory(root, components("{call_id}/{parameters.x}", told), told.id)
    assert made.is_dir()
    assert made.resolve().is_relative_to(root.resolve())
    assert [entry.name for entry in tmp_path.iterdir()] == ["root"]


def test_a_folder_is_never_used_twice(tmp_path: Path) -> None:
    made = [make_directory(tmp_path, ["a", "b"], "id").name for _ in range(SUFFIXES)]
    assert made[:3] == ["b", "b-2", "b-3"]
    assert made[-1] == f"b-{SUFFIXES}"
    assert make_directory(tmp_path, ["a", "b"], "id").name == "b-id"
    with pytest.raises(FileExistsError, match="every name like it"):
        make_directory(tmp_path, ["a", "b"], "id")


def test_a_long_name_has_room_for_its_suffix(tmp_path: Path) -> None:
    names = {make_directory(tmp_path, [safe("x" * 300)], "id").name for _ in range(12)}
    assert len(names) == 12
    assert max(map(len, names)) == MAX_COMPONENT


def test_folders_belong_to_us_alone(tmp_path: Path) -> None:
    made = make_directory(tmp_path / "root", ["a", "b"], "id")
    for folder in (made, made.parent, made.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").symlink_to(outside)
    with pytest.raises(OSError):
        make_directory(root, ["a", "b"], "id")
    assert make_directory(root, ["a"], "id") == root / "a-2"
    assert os.listdir(outside) == []


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")
    make_directory(tmp_path / "root", ["a"], "id")
    assert (tmp_path / "real" / "a").is_dir()


def test_a_folder_on_the_way_may_be_removed_at_any_moment(tmp_path: Path) -> None:
    """Whoever erases the last stream of a day removes the day, while the next stream is about to use it."""
    removed, over = [], threading.Event()

    def remove() -> None:
        while not over.is_set():
            for path in (tmp_path / "a" / "b", tmp_path / "a"):
                with contextlib.suppress(OSError):
                    path.rmdir()
                    removed.append(path)
                    over.wait(0.001)  # nobody has so many streams that this happens to all attempts in a row

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        while len(removed) < 200:
            made = make_directory(tmp_path, ["a", "b", "c"], "id")
            assert made.name == "c"
            made.rmdir()
    finally:
        over.set()
        remover.join()


def test_a_way_that_never_comes_to_be_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def vanishing(*arguments: Any, **named: Any) -> None:
        tried.append(arguments)
        raise FileNotFoundError("a")

    monkeypatch.setattr(os, "mkdir", vanishing)
    with pytest.raises(FileNotFoundError):
        make_directory(tmp_path, ["a"], "id")
    assert len(tried) >= ATTEMPTS
