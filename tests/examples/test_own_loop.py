"""The example of a session under a server of one's own, run as the program that it is."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from receiver.simulate import SPEECH, Call, speak

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_loop.py"


@pytest.fixture
def program() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The running example and its address."""
    command = [sys.executable, str(EXAMPLE), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"ws://127.0.0.1:{process.stdout.readline().split()[-1]}", process
        finally:
            process.terminate()


def lines_until(process: subprocess.Popen[str], last: str) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.strip())
        if line.startswith(last):
            break
    return lines


def test_a_call_is_read_from_start_to_stop(program: tuple[str, subprocess.Popen[str]]) -> None:
    url, process = program
    call = Call(inbound=SPEECH / "inbound.flac", outbound=SPEECH / "outbound.flac")
    outcome = asyncio.run(speak(call, url=url, speed=math.inf))
    assert outcome.ok and outcome.close_code == 1000
    assert lines_until(process, "ended") == [
        "started PCMU 8000 Hz inbound outbound",
        "inbound 21.00 s, 1050 messages",
        "outbound 21.00 s, 1050 messages",
        "ended stop",
    ]


def test_a_call_without_a_stop_message_ends_with_its_connection(program: tuple[str, subprocess.Popen[str]]) -> None:
    url, process = program
    outcome = asyncio.run(speak(Call(inbound=SPEECH / "inbound.flac", stop=False), url=url, speed=math.inf))
    assert outcome.complete
    assert lines_until(process, "ended")[-1] == "ended close"


def test_who_breaks_the_protocol_is_told_by_the_close_code(program: tuple[str, subprocess.Popen[str]]) -> None:
    url, _ = program

    async def scenario() -> ConnectionClosed:
        async with connect(url, proxy=None) as connection:
            await connection.send("this is not JSON")
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(connection.recv(), 30)
            return closed.value

    assert asyncio.run(scenario()).rcvd.code == 1007
