"""A slow, raising or stuck sink hurts nobody but itself: the recorder beside it misses nothing, nor does any socket."""

import asyncio
import base64
import json
import textwrap
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.asyncio.client import ClientConnection

PACKETS = 100
STOP = '{"event":"stop","sequenceNumber":"3"}'
WAV = {"use": "wav", "options": {"layout": "both"}}


def media(number: int) -> str:
    """A packet in which every sample tells its place."""
    samples = np.arange((number - 1) * 160, number * 160, dtype="<i2")
    body = {
        "track": "inbound",
        "chunk": str(number),
        "timestamp": str((number - 1) * 20),
        "payload": base64.b64encode(samples.tobytes()).decode(),
    }
    return json.dumps({"event": "media", "sequenceNumber": str(number + 1), "media": body})


async def talk(ws: ClientConnection, hello: Callable[..., Any], name: str, *, stop: bool = True) -> None:
    await hello(ws, encoding="audio/x-L16", callSid=name, streamSid=name)
    for number in range(1, PACKETS + 1):
        await ws.send(media(number))
    if stop:
        await ws.send(STOP)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


def written(tmp_path: Path, source: str, name: str = "sink") -> dict[str, str]:
    """A sink of somebody's own, in a file."""
    file = tmp_path / f"{name}.py"
    file.write_text(textwrap.dedent(source))
    return {"use": str(file)}


def told(server: Any, name: str) -> dict[str, Any] | None:
    """The stream.json of a call, once it is there."""
    file = server.root / name / "stream.json"
    if not file.exists():
        return None
    content: dict[str, Any] = json.loads(file.read_text())
    return content


async def over(server: Any) -> None:
    """Wait until no connection is left; whatever a sink has still to do, the end of the server waits for."""
    await until(lambda: not len(server.receiver.registry))


def facts_of(server: Any, name: str) -> dict[str, Any]:
    """What is told of a call in the end."""
    facts = told(server, name)
    assert facts is not None
    return facts


def check_recorded(server: Any, name: str) -> None:
    samples, rate = soundfile.read(server.root / name / "inbound.wav", dtype="int16")
    assert rate == 8000
    assert samples.tolist() == list(range(PACKETS * 160))


def recordings(tmp_path: Path) -> dict[str, Any]:
    return {"directory": str(tmp_path / "recordings"), "path": "{call_id}"}


async def ready(address: str) -> tuple[int, dict[str, Any]]:
    def ask() -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"http://{address}/readyz", timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    return await asyncio.to_thread(ask)


BAD_SINKS = {
    "slow": """
        import asyncio

        async def sink(stream, events):
            async for event in events:
                await asyncio.sleep(0.05)
    """,
    "raises at once": """
        async def sink(stream, events):
            raise ValueError("no\\nuse")
    """,
    "raises in the middle": """
        async def sink(stream, events):
            async for event in events:
                raise SystemExit(3)
    """,
    "never reads": """
        import asyncio

        async def sink(stream, events):
            await asyncio.Event().wait()
    """,
    "will not be cancelled": """
        import asyncio

        async def sink(stream, events):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.Event().wait()
    """,
    "leaves early": """
        async def sink(stream, events):
            async for event in events:
                return
    """,
    "plain, and raises": """
        def sink(stream, events):
            for event in events:
                raise RuntimeError("no")
    """,
    "plain, and slow": """
        import time

        def sink(stream, events):
            for event in events:
                time.sleep(0.05)
    """,
    "plugin that raises": """
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def plugin():
            async def sink(stream, events):
                async for event in events:
                    1 / 0
            yield sink
    """,
    "speaks nonsense": """
        async def sink(stream, events):
            stream.annotate("nonsense", start=0, end=1, rate=8000, data=object())
            stream.add_file(stream.directory.parent / "outside", kind="x", media_type="x/x")
    """,
}


@pytest.mark.parametrize("source", BAD_SINKS.values(), ids=BAD_SINKS)
def test_beside_a_bad_sink_the_recorder_misses_nothing(
    running: Callable[..., Any], hello: Callable[..., Any], tmp_path: Path, source: str
) -> None:
    bad = {**written(tmp_path, source), "finish_timeout_s": 0.3}

    async def main() -> Any:
        async with running(sinks={"bad": bad, "wav": WAV}, recordings=recordings(tmp_path)) as server:
            async with server.dial() as one, server.dial() as two:
                await asyncio.gather(talk(one, hello, "one"), talk(two, hello, "two"))
            await over(server)
        return server

    server = asyncio.run(main())
    for name in ("one", "two"):
        facts = facts_of(server, name)
        assert (facts["end"]["reason"], facts["end"]["stop_received"]) == ("stop", True)
        counters = facts["tracks"]["inbound"]["counters"]
        assert (counters["placed"], counters["samples"]) == (PACKETS, PACKETS * 160)
        assert [file["path"] for file in facts["files"]] == ["inbound.wav"]
        assert facts["annotations"] == []
        check_recorded(server, name)


@pytest.mark.blocks  # that is the point
@pytest.mark.parametrize("kind", ["async def", "def"])
def test_a_sink_that_blocks_delays_no_socket(
    running: Callable[..., Any], hello: Callable[..., Any], tmp_path: Path, kind: str
) -> None:
    """The sink blocks its thread until the second stream was received to its end; were it waited for, none would be."""
    each = "async for" if kind == "async def" else "for"
    blocking = written(
        tmp_path,
        f"""
        import time
        from pathlib import Path

        FOLDER = Path({str(tmp_path)!r})

        {kind} sink(stream, events):
            {each} event in events:
                if stream.call_id == "one" and not (FOLDER / "blocked").exists():
                    (FOLDER / "blocked").touch()
                    while not (FOLDER / "go").exists():
                        time.sleep(0.01)
                    (FOLDER / "went").touch()
        """,
    )

    async def main() -> Any:
        async with running(sinks={"bad": blocking, "wav": WAV}, recordings=recordings(tmp_path)) as server:
            async with server.dial() as one:
                await talk(one, hello, "one", stop=False)
                await until((tmp_path / "blocked").exists)
                async with server.dial() as two:
                    await talk(two, hello, "two")
                    await until(lambda: told(server, "two"))
                facts = told(server, "two")
                assert facts is not None
                assert (facts["end"]["reason"], facts["tracks"]["inbound"]["counters"]["placed"]) == ("stop", PACKETS)
                status, _ = await ready(server.public)
                assert status == 200
                assert not (tmp_path / "went").exists()
                (tmp_path / "go").touch()
                await one.send(STOP)
            await over(server)
        return server

    server = asyncio.run(main())
    for name in ("one", "two"):
        assert [file["path"] for file in facts_of(server, name)["files"]] == ["inbound.wav"]
        check_recorded(server, name)


@pytest.mark.blocks  # it looks at the disk to know when all was sent
def test_a_sink_that_cannot_keep_up_is_told_what_it_missed(
    running: Callable[..., Any], hello: Callable[..., Any], tmp_path: Path
) -> None:
    """Its feed holds a quarter of the stream: the rest is a gap of cause DROPPED, to it alone."""
    slow = written(
        tmp_path,
        """
        import asyncio
        import json

        async def sink(stream, events):
            heard = dropped = position = 0
            while not (stream.directory / "all-sent").exists():
                await asyncio.sleep(0.01)
            async for event in events:
                if hasattr(event, "samples"):
                    assert event.start == position
                    assert event.samples[0] == position
                    heard += len(event.samples)
                    position = event.end
                elif hasattr(event, "cause"):
                    assert (event.start, event.cause) == (position, "dropped")
                    dropped += event.end - event.start
                    position = event.end
            stream.annotate("heard", start=0, end=position, rate=8000, data=[heard, dropped])
        """,
    )
    sinks = {"slow": {**slow, "buffer_s": 0.5}, "wav": WAV}

    file = tmp_path / "recordings" / "one" / "inbound.wav.part"

    async def main() -> Any:
        async with running(sinks=sinks, recordings=recordings(tmp_path)) as server:
            async with server.dial() as ws:
                await hello(ws, encoding="audio/x-L16", callSid="one")
                for number in range(1, PACKETS + 1):
                    await ws.send(media(number))
                    if number % 10 == 0:  # in pieces, so that the feed is filled by more than one batch
                        await until(lambda size=44 + number * 320: file.exists() and file.stat().st_size == size)
                (tmp_path / "recordings" / "one" / "all-sent").touch()
                await ws.send(STOP)
            await over(server)
        return server

    server = asyncio.run(main())
    check_recorded(server, "one")
    facts = facts_of(server, "one")
    (annotation,) = facts["annotations"]
    heard, dropped = annotation["data"]
    assert heard + dropped == annotation["end"] == PACKETS * 160
    assert 0 < heard <= 4000 + 10 * 160 and dropped > 0
    assert facts["tracks"]["inbound"]["gaps"] == []


SPEAKING = """
    from receiver.events import Frame

    {kind} sink(stream, events):
        first = True
        {each} event in events:
            if first:
                stream.annotate("speech", track=event.track, start=0, end=80, rate=8000, data={{"text": "ü", "n": [1]}})
                first = False
        path = stream.directory / "notes.txt"
        path.write_text("a note")
        stream.add_file(path, kind="notes", media_type="text/plain")
        stream.annotate("summary", start=0, end=16000, rate=8000)
"""


@pytest.mark.blocks  # the asynchronous one writes its file on the sinks' loop, as authors do
@pytest.mark.parametrize(("kind", "each"), [("async def", "async for"), ("def", "for")])
def test_what_a_sink_learns_and_makes_is_told_and_reaches_the_others(
    running: Callable[..., Any], hello: Callable[..., Any], tmp_path: Path, kind: str, each: str
) -> None:
    hearing = written(
        tmp_path,
        """
        import json

        async def sink(stream, events):
            heard = [event.kind async for event in events if hasattr(event, "kind")]
            (stream.directory / "heard.json").write_text(json.dumps(heard))
        """,
        "hearing",
    )
    sinks = {"author": written(tmp_path, SPEAKING.format(kind=kind, each=each)), "hearing": hearing, "wav": WAV}

    async def main() -> Any:
        async with running(sinks=sinks, recordings=recordings(tmp_path)) as server:
            async with server.dial() as ws:
                await talk(ws, hello, "one", stop=False)
                journal = server.root / "one" / "journal.jsonl"
                await until(lambda: journal.exists() and b'"speech"' in journal.read_bytes())
                await ws.send(STOP)
            await over(server)
        return server

    server = asyncio.run(main())
    check_recorded(server, "one")
    assert "speech" in json.loads((server.root / "one" / "heard.json").read_text())
    facts = facts_of(server, "one")
    speech, summary = facts["annotations"]
    assert speech == {
        "kind": "speech",
        "track": "inbound",
        "start": 0,
        "end": 80,
        "rate": 8000,
        "data": {"text": "ü", "n": [1]},
        "sink": "author",
    }
    assert (summary["kind"], summary["track"], summary["data"]) == ("summary", None, None)
    files = {file["path"]: (file["kind"], file["sink"], file["bytes"]) for file in facts["files"]}
    assert files == {"notes.txt": ("notes", "author", 6), "inbound.wav": ("audio", "wav", 44 + PACKETS * 320)}


def test_when_all_sinks_have_failed_the_stream_stays_open_and_readiness_tells(
    running: Callable[..., Any], hello: Callable[..., Any], tmp_path: Path
) -> None:
    sinks = {
        "one": written(tmp_path, BAD_SINKS["raises at once"], "one"),
        "two": written(tmp_path, BAD_SINKS["raises in the middle"], "two"),
    }

    async def main() -> Any:
        async with running(sinks=sinks, recordings=recordings(tmp_path)) as server:
            assert await ready(server.public) == (200, {"ready": True})
            async with server.dial() as ws:
                await talk(ws, hello, "call", stop=False)
                async with asyncio.timeout(30):
                    while await ready(server.public) != (503, {"ready": False, "reason": "sinks"}):
                        await asyncio.sleep(0.01)
                assert (await ready(server.management))[0] == 503
                await ws.send(media(PACKETS + 1))
                await ws.send(STOP)
            await over(server)
            assert await ready(server.public) == (200, {"ready": True})
        return server

    facts = facts_of(asyncio.run(main()), "call")
    assert facts["end"] == {"reason": "stop", "stop_received": True, "error": None, "close_code": None}
    assert facts["tracks"]["inbound"]["counters"]["placed"] == PACKETS + 1
    assert facts["files"] == []


def test_one_good_sink_is_enough_to_be_ready(
    running: Callable[..., Any], hello: Callable[..., Any], tmp_path: Path
) -> None:
    sinks = {"bad": written(tmp_path, BAD_SINKS["raises at once"]), "wav": WAV}

    def failures(server: Any) -> str:
        with urllib.request.urlopen(f"http://{server.management}/metrics", timeout=20) as answer:
            text: str = answer.read().decode()
        return text

    async def main() -> Any:
        async with running(sinks=sinks, recordings=recordings(tmp_path)) as server:
            async with server.dial() as ws:
                await talk(ws, hello, "call", stop=False)
                async with asyncio.timeout(30):
                    while 'receiver_sink_failures_total{sink="bad"} 1.0' not in await asyncio.to_thread(
                        failures, server
                    ):
                        await asyncio.sleep(0.05)
                assert (await ready(server.public))[0] == 200
                await ws.send(STOP)
            await over(server)
        return server

    check_recorded(asyncio.run(main()), "call")
