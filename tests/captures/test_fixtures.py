"""The regression suite of the middle: captures, and what each of them becomes. Extended by dropping in a file."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest

import receiver

FOLDER = Path(__file__).with_name("fixtures")
FIXTURES = sorted(path for path in FOLDER.iterdir() if path.name.endswith((".jsonl", ".jsonl.gz")))
BROKEN = {"crash.jsonl", "damaged.jsonl"}  # what they are about
MAX_BYTES = 60_000
SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(receiver.__file__).parent / "capture.schema.json").read_text())
)


@pytest.mark.parametrize("capture", FIXTURES, ids=lambda path: path.name)
def test_a_capture_becomes_what_is_written_beside_it(expect: ModuleType, capture: Path) -> None:
    expectation = expect.expectation_of(capture)
    assert expectation.exists(), _missing(capture)
    assert expect.become(capture) == json.loads(expectation.read_text())


@pytest.mark.parametrize("capture", FIXTURES, ids=lambda path: path.name)
def test_every_line_of_a_fixture_is_as_the_schema_says_and_it_is_small(capture: Path) -> None:
    assert capture.stat().st_size < MAX_BYTES
    data = capture.read_bytes()
    lines = (gzip.decompress(data) if capture.suffix == ".gz" else data).split(b"\n")
    broken = 0
    for line in lines[:-1]:
        try:
            SCHEMA.validate(json.loads(line))
        except json.JSONDecodeError:
            broken += 1
    assert (broken > 0 or lines[-1] != b"") is (capture.name in BROKEN)


def test_every_expectation_and_every_line_of_the_list_has_its_capture(expect: ModuleType) -> None:
    names = {expect.expectation_of(path).name for path in FIXTURES}
    assert {path.name for path in FOLDER.glob("*.expected.json")} == names
    listed = (FOLDER / "README.md").read_text()
    assert [path.name for path in FIXTURES if f"`{path.name}`" not in listed] == []
    assert len(FIXTURES) >= 20


def test_who_forgot_the_expectation_is_told_how_to_write_it(tmp_path: Path) -> None:
    assert "python tests/captures/expect.py" in _missing(FOLDER / "new.jsonl")


def test_the_expectation_of_a_capture_is_written_beside_it(expect: ModuleType) -> None:
    assert expect.expectation_of(Path("a/b.c.jsonl.gz")) == Path("a/b.c.expected.json")
    text = expect.to_text(expect.become(FIXTURES[0]))
    assert json.loads(text) == expect.become(FIXTURES[0])
    assert max(len(line) for line in text.splitlines()) < 200


def _missing(capture: Path) -> str:
    path = capture.relative_to(FOLDER.parents[2])
    return f"nobody has said what {capture.name} becomes: python tests/captures/expect.py {path}, and check it"
