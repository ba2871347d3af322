"""A sink that was stuck or failed reads on from what was kept of the stream, and misses nothing."""

from __future__ import annotations

import asyncio
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from receiver.simulate import SPEECH, Call, messages

pytestmark = pytest.mark.blocks  # the sinks of these tests write files, and one blocks its loop

COUNTING = """
    import hashlib, time
    from pathlib import Path
    from receiver.events import Frame, Gap

    GO = Path({go!r})

    async def sink(stream, events):
        told, digests, expected = [], {{}}, {{}}
        async for event in events:
            {trouble}
            if isinstance(event, (Frame, Gap)):
                assert event.start == expected.get(event.track, 0), (event, expected)
                expected[event.track] = event.end
            if isinstance(event, Frame):
                digests.setdefault(event.track, hashlib.sha256()).update(event.samples.tobytes())
            elif isinstance(event, Gap):
                told.append((event.track, event.start, event.end, event.cause.value))
        lines = [f"{{track}} {{digest.hexdigest()}}" for track, digest in sorted(digests.items())]
        (stream.directory / "{name}.txt").write_text("\\n".join([*lines, repr(told), repr(expected)]))
"""
STUCK = "while not GO.exists(): time.sleep(0.01)"
RAISES = """
            if not GO.exists() and expected.get("inbound", 0) > 20_000:
                GO.touch()
                raise RuntimeError("no engine")
"""


def sink(folder: Path, name: str, trouble: str, **config: Any) -> dict[str, Any]:
    source = textwrap.dedent(COUNTING).format(go=str(folder / "go"), name=name, trouble=trouble.strip())
    (folder / f"{name}.py").write_text(source)
    return {"use": f"./{name}.py", **config}


def call(*changes: str) -> list[str]:
    said = [
        message for _, message in messages(Call(inbound=SPEECH / "inbound.flac", outbound=SPEECH / "outbound.flac"))
    ]
    return [message for number, message in enumerate(said) if str(number) not in changes]


def receive(
    running: Callable[..., Any], said: list[str], tmp_path: Path, *, captures: bool, **sinks: Any
) -> tuple[Path, dict[str, Any], set[str]]:
    """The folder, what is told, and the names of the files that were in it while the stream was live."""

    async def main() -> tuple[Path, dict[str, Any], set[str]]:
        async with running(sinks=sinks, captures={"enabled": captures}, limits={"burst_s": 0}) as server:
            async with server.dial() as connection:
                for number, message in enumerate(said[:-1]):
                    await connection.send(message)
                    if number % 50 == 49:
                        await asyncio.sleep(0.07)  # in many batches
                await asyncio.sleep(0.2)
                (folder,) = server.folders()
                during = {path.name for path in folder.iterdir()}
                (tmp_path / "go").touch()
                await connection.send(said[-1])
        return folder, server.told(), during

    return asyncio.run(main())


@pytest.mark.parametrize("captures", [False, True])
def test_a_sink_that_was_stuck_catches_up_and_misses_nothing(
    running: Callable[..., Any], tmp_path: Path, captures: bool
) -> None:
    sinks = {
        "steady": sink(tmp_path, "steady", "pass"),
        "stuck": sink(tmp_path, "stuck", STUCK, overflow="spill", buffer_s=1),
        "late": sink(tmp_path, "late", STUCK, buffer_s=1),
    }
    said = call("500", "501", "777")
    folder, told, during = receive(running, said, tmp_path, captures=captures, **sinks)
    assert (folder / "stuck.txt").read_text() == (folder / "steady.txt").read_text()
    assert "'lost'" in (folder / "steady.txt").read_text()
    assert told["sinks"]["stuck"]["dropped_s"] == {}
    assert told["sinks"]["late"]["dropped_s"].keys() == {"inbound", "outbound"}
    kept = "capture.jsonl" if captures else "spill.jsonl"
    assert kept in during
    assert (folder / kept).exists() == captures
    assert [file["path"] for file in told["files"] if file["kind"] == "capture"] == [kept] * captures


def test_a_sink_that_raised_goes_on_where_it_stopped(running: Callable[..., Any], tmp_path: Path) -> None:
    sinks = {
        "steady": sink(tmp_path, "steady", "pass"),
        # it spills as well: on a busy machine it may be slow besides, and would rightly miss something
        "raises": sink(tmp_path, "raises", RAISES, on_error="restart", overflow="spill", buffer_s=1),
    }
    folder, told, during = receive(running, call(), tmp_path, captures=False, **sinks)
    *_, gaps, expected = (folder / "raises.txt").read_text().splitlines()
    assert expected == (folder / "steady.txt").read_text().splitlines()[-1]
    again = eval(gaps)
    assert {(track, start, cause) for track, start, _, cause in again} == {
        ("inbound", 0, "dropped"),
        ("outbound", 0, "dropped"),
    }
    assert told["sinks"]["raises"]["status"] == "ok"
    assert told["sinks"]["raises"]["restarts"] == 1
    assert told["sinks"]["raises"]["dropped_s"] == {}
    assert "spill.jsonl" in during
    assert not (folder / "spill.jsonl").exists()


def test_what_nobody_needs_is_not_kept(running: Callable[..., Any], tmp_path: Path) -> None:
    """Neither captures nor a sink that reads back: nothing of what was said is on the disk but what sinks write."""
    folder, told, during = receive(running, call(), tmp_path, captures=False, steady=sink(tmp_path, "steady", "pass"))
    assert {path.name for path in folder.iterdir()} == {"steady.txt", "stream.json"}
    assert during == {"journal.jsonl"}
    assert json.loads((folder / "stream.json").read_text()) == told
