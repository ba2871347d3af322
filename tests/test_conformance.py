"""What the Autobahn test suite is run against: an echo, on both ways to read. Its own cases need make conformance."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from websockets.asyncio.client import connect

CONFORMANCE = Path(__file__).parent.parent / "conformance"
RESULT = json.loads((CONFORMANCE / "result.json").read_text())
PATHS = ["/receive", "/wire"]


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(CONFORMANCE)
    yield importlib.import_module("echo")
    del sys.modules["echo"]


@pytest.mark.parametrize("path", PATHS)
def test_what_is_said_comes_back_on(echo: ModuleType, path: str) -> None:
    said = ["text", "", b"bytes", b"", "x" * 65_536]

    async def run() -> list[str | bytes]:
        async with (
            asyncio.timeout(30),
            echo.echoing() as address,
            connect(address + path, compression=None, proxy=None) as connection,
        ):
            for message in said:
                await connection.send(message)
            return [await connection.recv() for _ in said]

    assert asyncio.run(run()) == said


@pytest.mark.parametrize("path", PATHS)
def test_the_result_that_is_kept_is_one_in_which_nothing_failed_that_may_not(path: str) -> None:
    result = RESULT["paths"][path]
    assert result["cases"] == 247
    good = {"OK", "NON-STRICT", "INFORMATIONAL"}
    failed = {case for case, said in result["not OK"].items() if not set(said.split(" / ")) <= good}
    assert failed == set(RESULT["may fail"]) == {"7.1.5"}
