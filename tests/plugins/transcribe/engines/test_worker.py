"""A worker process by itself, at the end of a pipe that the test holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from receiver_plugins.transcribe.engines.messages import (
    HEAD_BYTES,
    Answer,
    Drop,
    Feed,
    Finish,
    Loaded,
    Reply,
    Unusable,
    pack,
    read_reply,
    unpack_size,
)


@pytest.fixture
def worker(toy: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "toy_worker", str(toy)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def replies(output: bytes) -> list[Reply]:
    read = []
    while output:
        end = HEAD_BYTES + unpack_size(output[:HEAD_BYTES])
        read.append(read_reply(output[HEAD_BYTES:end]))
        output = output[end:]
    return read


def test_requests_are_answered_in_order_and_the_end_of_the_input_is_the_end(worker: subprocess.Popen[bytes]) -> None:
    requests = [Feed(bytes(20)), Drop(), Finish(), Feed(bytes(40)), Finish()]
    output, errors = worker.communicate(b"".join(map(pack, requests)), timeout=20)
    loaded, fed, dropped, nothing, again, final = replies(output)
    assert loaded == Loaded()
    assert isinstance(fed, Answer)
    assert [heard.text for heard in fed.heard] == ["10"]
    assert dropped == nothing == Answer()
    assert isinstance(again, Answer)
    assert [heard.text for heard in again.heard] == ["20"]
    assert isinstance(final, Answer)
    assert (worker.returncode, errors) == (0, b"")


def test_what_is_printed_is_no_reply(worker: subprocess.Popen[bytes]) -> None:
    output, errors = worker.communicate(pack(Feed(b"\1" * 4)), timeout=20)
    assert len(replies(output)) == 2
    assert errors == b"printed\n"


def test_a_model_that_cannot_be_used_is_told_and_the_end(toy: Path, worker: subprocess.Popen[bytes]) -> None:
    worker.communicate(timeout=20)
    toy.write_text("refuse model")
    refusing = subprocess.run([*worker.args], input=b"", capture_output=True, timeout=20)  # type: ignore[misc]
    assert replies(refusing.stdout) == [Unusable("model", "there is no such model")]
    assert (refusing.returncode, refusing.stderr) == (0, b"")


@pytest.mark.parametrize("name", ["worker", "pocketsphinx_worker"])
def test_a_worker_imports_nothing_of_the_plugin_that_it_works_for(name: str) -> None:
    """There are several, and whatever one imports is in the memory of each."""
    if name.startswith("pocketsphinx"):
        pytest.importorskip("pocketsphinx")
    source = f"import sys, receiver_plugins.transcribe.engines.{name}; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-P", "-c", source], capture_output=True, text=True, check=True, timeout=50)
    loaded = set(told.stdout.split())
    assert f"receiver_plugins.transcribe.engines.{name}" in loaded
    assert not loaded & {"asyncio", "prometheus_client", "pydantic", "receiver.sinks", "structlog", "websockets"}


def test_a_worker_that_nobody_listens_to_ends_in_silence(worker: subprocess.Popen[bytes]) -> None:
    assert worker.stdin is not None
    assert worker.stdout is not None
    assert worker.stderr is not None
    worker.stdout.close()
    with worker.stdin as requests:
        requests.write(pack(Feed(bytes(20))))
    assert worker.wait(20) == 0
    with worker.stderr as errors:
        assert errors.read() == b""
