"""What sinks say of a live stream, what the journal knows meanwhile, and what is told of it in the end."""

import asyncio
import base64
import json
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from receiver import files

PACKETS = 25
STOP = json.dumps({"event": "stop"})
WAV = {"use": "wav", "options": {"layout": "separate"}}
pytestmark = pytest.mark.blocks  # tests and their sinks look at the disk


def media(number: int) -> str:
    payload = base64.b64encode(bytes([number % 250 + 1]) * 160).decode()
    body = {"track": "inbound", "chunk": str(number), "timestamp": str((number - 1) * 20), "payload": payload}
    return json.dumps({"event": "media", "media": body})


def sink(folder: Path, name: str, source: str) -> dict[str, str]:
    (folder / f"{name}.py").write_text(textwrap.dedent(source))
    return {"use": f"./{name}.py"}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def talk(
    server: Any, hello: Any, *, stop: bool = True, meanwhile: Callable[[Path], object] | None = None
) -> Path:
    """One stream of half a second, to the end of its connection; its folder."""
    async with server.dial() as connection:
        await hello(connection)
        for number in range(1, PACKETS + 1):
            await connection.send(media(number))
        if meanwhile is not None:
            await until(lambda: server.folders() and meanwhile(server.folders()[0]))
        if stop:
            await connection.send(STOP)
    await until(lambda: not len(server.receiver.registry))
    folder: Path = server.folders()[0]
    return folder


def told(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "stream.json").read_text())
    return content


def lines(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    said: list[Any] = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [line for line in said if line["event"] == event]


def test_a_sink_that_needs_longer_amends_what_was_told(running: Any, hello: Any, tmp_path: Path) -> None:
    late = sink(
        tmp_path,
        "late",
        """
        import asyncio

        async def sink(stream, events):
            async for event in events:
                pass
            while not (stream.directory / "go").exists():
                await asyncio.sleep(0.01)
            (stream.directory / "words.txt").write_text("hello")
            stream.annotate("words", start=0, end=4000, rate=8000, data=["hello"])
            stream.add_file(stream.directory / "words.txt", kind="words", media_type="text/plain")
        """,
    )

    async def run() -> None:
        async with running(sinks={"late": late, "wav": WAV}) as server:
            folder = await talk(server, hello)
            before = told(folder)
            assert before["annotations"] == [] and [file["path"] for file in before["files"]] == ["inbound.wav"]
            assert (folder / "journal.jsonl").exists()  # there is something to come
            (folder / "go").touch()
            await until(lambda: not (folder / "journal.jsonl").exists())
            after = told(folder)
            assert [note["data"] for note in after.pop("annotations")] == [["hello"]]
            files = {file["path"]: file for file in after.pop("files")}
            assert files.keys() == {"inbound.wav", "words.txt"} and files["words.txt"]["bytes"] == 5
            assert files["inbound.wav"] == before.pop("files")[0]
            del before["annotations"]
            assert after == before

    asyncio.run(run())


def test_an_annotation_that_no_json_can_hold_is_refused_with_a_line_and_nothing_else_suffers(
    running: Any, hello: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = sink(
        tmp_path,
        "odd",
        """
        async def sink(stream, events):
            stream.annotate("before", start=0, end=1, rate=8000, data=1)
            stream.annotate("odd", start=0, end=1, rate=8000, data=object())
            stream.annotate("after", start=0, end=1, rate=8000, data=2)
            async for event in events:
                pass
        """,
    )
    caplog.set_level("INFO")

    async def run() -> Path:
        async with running(sinks={"odd": odd, "wav": WAV}) as server:
            return await talk(server, hello)

    folder = asyncio.run(run())
    assert [(note["kind"], note["data"]) for note in told(folder)["annotations"]] == [("before", 1), ("after", 2)]
    assert soundfile.info(folder / "inbound.wav").frames == PACKETS * 160
    (refused,) = lines(caplog, "annotation_refused")
    assert refused["sink"] == "odd" and "'odd' is not JSON" in refused["problem"]
    assert refused["stream"] == told(folder)["id"]


def test_after_a_failed_sink_the_journal_stays_and_the_next_start_finishes(
    running: Any, hello: Any, tmp_path: Path
) -> None:
    failing = """
        from contextlib import asynccontextmanager

        from receiver.sinks import Plugin

        @asynccontextmanager
        async def plugin():
            async def sink(stream, events):
                (stream.directory / "half.txt").write_text("half")
                raise ValueError("no use")

            def recover(stream):
                half = stream.directory / "half.txt"
                half.rename(stream.directory / "whole.txt")
                stream.add_file(stream.directory / "whole.txt", kind="text", media_type="text/plain")

            yield Plugin(sink=sink, recover=recover)
    """
    sinks = {"failing": sink(tmp_path, "failing", failing), "wav": WAV}

    async def run() -> tuple[Path, dict[str, Any]]:
        async with running(sinks=sinks) as server:
            folder = await talk(server, hello)
            before = told(folder)
        assert (folder / "journal.jsonl").exists()
        async with running(sinks=sinks):
            return folder, before

    folder, before = asyncio.run(run())
    after = told(folder)
    assert not (folder / "journal.jsonl").exists()
    assert {file["path"] for file in before.pop("files")} == {"inbound.wav"}
    assert {file["path"] for file in after.pop("files")} == {"inbound.wav", "whole.txt"}
    assert after == before  # how it ended was known, and stays so
    assert after["end"]["reason"] == "stop"


def test_the_start_and_the_end_are_a_line_each_with_the_figures_that_matter(
    running: Any, hello: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def run() -> Path:
        async with running(sinks={"wav": WAV}) as server:
            async with server.dial() as connection:
                await hello(connection, customParameters={"consent": "yes"})
                for number in [*range(1, 11), 10, *range(16, 26)]:  # one twice, five lost
                    await connection.send(media(number))
                await connection.send(STOP)
            await until(lambda: not len(server.receiver.registry))
            folder: Path = server.folders()[0]
            return folder

    folder = asyncio.run(run())
    (started,), (ended,) = lines(caplog, "stream_started"), lines(caplog, "stream_ended")
    for line in (started, ended):
        assert (line["stream"], line["source"], line["level"]) == (told(folder)["id"], "default", "info")
    expected = {
        "dialect": "signalwire",
        "peer_stream": "7d56cc11-536d-4a45-b4fb-ed3d55be843b",
        "call": "76ac3c36-56da-4a3e-a0d6-b5f8df6da9ad",
        "codec": "PCMU",
        "rate": 8000,
        "tracks": ["inbound"],
        "peer": "127.0.0.1",
    }
    assert {key: started[key] for key in expected} == expected
    assert (ended["reason"], ended["stop_received"], ended["duration_s"]) == ("stop", True, 0.5)
    assert (ended["error"], ended["directory"]) == (None, str(folder))
    assert ended["tracks"] == {
        "inbound": {
            "received": 21,
            "audio_s": 0.4,
            "gaps_s": {"lost": 0.1},
            "duplicate": 1,
            "late": 0,
            "rejected": 0,
        }
    }
    assert "consent" not in str(started) + str(ended)


def test_the_journal_is_told_about_once_a_second_how_far_the_tracks_are(running: Any, hello: Any) -> None:
    def progress(folder: Path) -> list[dict[str, Any]]:
        journal = folder / "journal.jsonl"
        written = journal.read_text().splitlines(keepends=True) if journal.exists() else []
        facts = [json.loads(line) for line in written if line.endswith("\n")]
        return [fact["progress"]["inbound"] for fact in facts if "progress" in fact]

    async def run() -> None:
        async with running(sinks={"wav": WAV}, server={"latency_ms": 20}) as server:
            began = time.monotonic()
            seen: list[dict[str, Any]] = []

            def three(folder: Path) -> bool:
                seen[:] = progress(folder)
                return len(seen) >= 3

            await talk(server, hello, meanwhile=three)
            assert len(seen) - 1 <= time.monotonic() - began
            assert seen[-1]["received"] == PACKETS and seen[-1]["length"] == PACKETS * 160

    asyncio.run(run())


def test_a_stream_json_that_cannot_be_written_is_told_and_the_audio_stays(
    running: Any, hello: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocking = sink(
        tmp_path,
        "blocking",
        """
        import asyncio

        async def sink(stream, events):
            (stream.directory / "stream.json").mkdir()
            async for event in events:
                pass
            while not (stream.directory / "go").exists():
                await asyncio.sleep(0.01)
        """,
    )
    caplog.set_level("INFO")

    async def run() -> Path:
        async with running(sinks={"blocking": blocking, "wav": WAV}) as server:
            folder = await talk(server, hello)
            assert len(lines(caplog, "stream_json_failed")) == 1
            (folder / "go").touch()
            await until(lambda: len(lines(caplog, "stream_json_failed")) == 2)  # amended, once the sink was done
            return folder

    folder = asyncio.run(run())
    assert len(lines(caplog, "stream_ended")) == 1
    assert soundfile.info(folder / "inbound.wav").frames == PACKETS * 160


def test_a_journal_that_is_gone_is_told_and_no_more(
    running: Any, hello: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    thief = sink(
        tmp_path,
        "thief",
        """
        async def sink(stream, events):
            (stream.directory / "journal.jsonl").unlink()
            async for event in events:
                pass
        """,
    )

    async def run() -> Path:
        async with running(sinks={"thief": thief, "wav": WAV}) as server:
            return await talk(server, hello)

    folder = asyncio.run(run())
    assert len(lines(caplog, "journal_not_removed")) == 1
    assert told(folder)["end"]["reason"] == "stop"


def test_a_journal_that_cannot_be_written_is_told_and_the_stream_goes_on(
    running: Any, hello: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> Path:
        async with running(sinks={"wav": WAV}, limits={"writer_bytes": 1}) as server:
            return await talk(server, hello)

    try:
        folder = asyncio.run(run())
    finally:
        files.configure()
    (line,) = lines(caplog, "journal_not_written")
    assert "bytes behind" in line["problem"]
    assert told(folder)["tracks"]["inbound"]["counters"]["received"] == PACKETS
