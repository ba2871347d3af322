"""Every example of docs/captures.md, run as it stands."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest

import receiver
from receiver.captures.capture import decode_header, decode_line
from receiver.config import Config

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "captures.md").read_text()
FIXTURES = ROOT / "tests" / "captures" / "fixtures"
SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(receiver.__file__).parent / "capture.schema.json").read_text())
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(FIXTURES / "no-stop.jsonl", tmp_path / "capture.jsonl")
    return tmp_path


def test_the_configuration_is_one() -> None:
    (text,) = blocks("toml")
    assert Config.model_validate(tomllib.loads(text)).captures.enabled


def test_the_lines_are_lines() -> None:
    header, lines = blocks("json")
    SCHEMA.validate(json.loads(header))
    decode_header(header.replace("\n", "").encode())
    codes = set()
    for line in lines.splitlines():
        SCHEMA.validate(json.loads(line))
        decode_line(line.encode())
        codes.add(json.loads(line)[1])
    assert codes == set("mtbpx")


def test_the_programs_run(folder: Path) -> None:
    outputs = []
    for text in blocks("python"):
        (folder / "example.py").write_text(text)
        run = subprocess.run([sys.executable, "example.py"], cwd=folder, capture_output=True, text=True, check=True)
        outputs.append(run.stdout.splitlines())
    reading, playing = outputs
    assert reading == ["capture", "0.000 s: 2 messages", *(f"0.{ms:03d} s: 3 messages" for ms in (60, 120, 180))]
    assert [line.split()[:2] for line in playing] == [
        ["inbound", "0"],
        ["inbound", "480"],
        ["inbound", "960"],
        ["close"],
    ]


@pytest.mark.system
def test_the_questions_to_jq_have_answers(folder: Path) -> None:
    questions = [line for text in blocks("sh") for line in text.splitlines() if line.startswith("jq ")]
    answers = []
    for question in questions:
        run = subprocess.run(["sh", "-ec", question], cwd=folder, capture_output=True, text=True, check=True)
        answers.append(run.stdout)
    said, counted, placed, ended = answers
    assert [json.loads(line)[2]["event"] for line in said.splitlines()] == ["connected", "start"]
    assert re.findall(r"(\d+) (\w+)", counted) == [("1", "connected"), ("9", "media"), ("1", "start")]
    assert placed.splitlines()[-1] == "0.18\t9\t160"
    assert ended == "close\n"
