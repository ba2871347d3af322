"""Erasing streams and calls by the API, over real sockets, while a real receiver has others."""

from __future__ import annotations

import asyncio
import functools
import json
import random
import textwrap
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from receiver import files
from receiver.audio import AudioFormat, Encoding
from receiver.recordings import Recording
from receiver.stream import StreamFacts

Test = Callable[..., Any]
CALL = "76ac3c36-56da-4a3e-a0d6-b5f8df6da9ad"
WAV = {"use": "wav", "options": {"layout": "separate"}}
STOP = json.dumps({"event": "stop"})


def on_a_loop(test: Test) -> Test:
    """Run a test's coroutine."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run


pytestmark = pytest.mark.blocks  # the tests look at folders, and their sinks write files


async def delete(server: Any, path: str, **headers: str) -> tuple[int, Any]:
    reader, writer = await asyncio.open_connection(*server.management.split(":"))
    fields = {"Host": "localhost", "Connection": "close", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    writer.write(f"DELETE {path} HTTP/1.1\r\n{lines}\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body) if body.startswith(b"{") else body


def scraped(server: Any) -> str:
    with urllib.request.urlopen(f"http://{server.management}/metrics", timeout=20) as answer:
        text: str = answer.read().decode()
    return text


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def written(folder: Path, name: str, text: str) -> dict[str, Any]:
    """A sink of a file's own."""
    (folder / f"{name}.py").write_text(textwrap.dedent(text))
    return {"use": f"./{name}.py"}


def media(number: int) -> str:
    body = {
        "track": "inbound",
        "chunk": str(number),
        "timestamp": str(number * 20 - 20),
        "payload": "f39/" * 53 + "fw==",
    }
    return json.dumps({"event": "media", "media": body})


async def call(server: Any, hello: Any, **more: Any) -> str:
    """A stream from its start to its end; our id of it."""
    known = {path.name for path in server.root.rglob("*") if path.is_dir()}
    async with server.dial() as connection:
        await hello(connection, **more)
        for number in range(1, 11):
            await connection.send(media(number))
        await connection.send(STOP)
    await until(lambda: len(server.receiver.registry) == 0)
    [name] = {path.name for path in server.root.rglob("*") if (path / "stream.json").exists()} - known
    return name


def final(server: Any, streams: int) -> bool:
    told, left = list(server.root.rglob("stream.json")), list(server.root.rglob("journal.jsonl"))
    return len(told) == streams and not left


def facts(name: str, call_id: str = CALL) -> StreamFacts:
    return StreamFacts(
        id=name,
        source="default",
        dialect="signalwire",
        stream_id="theirs",
        call_id=call_id,
        account_id=None,
        tracks=("inbound",),
        format=AudioFormat(Encoding.PCMU, 8000),
        parameters={},
        path_parameters={},
        peer_address="192.0.2.1",
        token=None,
        started=datetime.now(UTC),
    )


LISTENS = """
    from pathlib import Path

    from receiver.sinks import Plugin, StreamErased

    async def records(records):
        async for record in records:
            if isinstance(record, StreamErased):
                with open({path!r}, "a") as file:
                    print(record.stream_id, record.call_id, record.reason, record.directory, file=file)

    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def plugin():
        yield Plugin(records=records)
"""


@on_a_loop
async def test_a_stream_is_erased_with_everything_that_it_left(
    running: Callable[..., Any], hello: Callable[..., Any], tmp_path: Path, capture_logs: Any
) -> None:
    told = tmp_path / "told.txt"
    sinks = {"wav": WAV, "listens": written(tmp_path, "listens", LISTENS.format(path=str(told)))}
    with capture_logs() as logs:
        async with running(sinks=sinks, captures={"enabled": True}) as server:
            custom = {"customParameters": {"name": "Ann-4711"}}
            one, two = await call(server, hello, **custom), await call(server, hello, **custom)
            await until(lambda: final(server, 2))
            (folder,) = server.root.glob(f"*/{one}")
            (folder / "processed" / "again").mkdir(parents=True)
            (folder / "processed" / "again" / "stream.json").write_text("{}")
            sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
            assert len(sizes) == 4
            status, answer = await delete(server, f"/api/streams/{one}")
            erased = {"id": one, "call_id": CALL, "directory": str(folder), "files": 4, "bytes": sum(sizes)}
            assert (status, answer) == (200, {"erased": [erased], "files": 4, "bytes": sum(sizes), "kept": []})
            assert [path.name for path in server.folders()] == [two]
            assert await delete(server, f"/api/streams/{one}") == (404, {"error": "there is no stream of this id"})
            body = await asyncio.to_thread(scraped, server)
            assert 'receiver_streams_erased_total{reason="asked"} 1.0' in body
            assert 'receiver_streams_erased_total{reason="age"} 0.0' in body
            await until(lambda: told.exists() and told.read_text())
            assert told.read_text() == f"{one} {CALL} asked {folder}\n"
            assert (await delete(server, f"/api/streams/{two}"))[0] == 200
            assert list(server.root.iterdir()) == []
            third = await call(server, hello)  # in the folder of the day, which is made anew
            assert [path.name for path in server.folders()] == [third]
    asked = [line for line in logs if line["event"] == "erase_asked"]
    assert [(line["stream"], line["call"], line["by"], line["peer"]) for line in asked] == [
        (one, None, None, "127.0.0.1"),
        (one, None, None, "127.0.0.1"),
        (two, None, None, "127.0.0.1"),
    ]
    [line] = [line for line in logs if line["event"] == "stream_erased" and line["stream"] == one]
    assert (line["call"], line["reason"], line["files"], line["bytes"]) == (CALL, "asked", 4, sum(sizes))
    assert "Ann-4711" not in repr([line for line in logs if "erase" in line["event"]])


@pytest.mark.parametrize("template", ["{stream_id}", "{source}/x-{stream_id}/{date}", "{call_id}"])
@on_a_loop
async def test_streams_are_found_whatever_the_template(
    running: Callable[..., Any], hello: Callable[..., Any], template: str
) -> None:
    async with running(sinks={}, recordings={"path": template}) as server:
        for _ in range(2):
            async with server.dial() as connection:
                await hello(connection)
                await connection.send(STOP)
            await until(lambda: len(server.receiver.registry) == 0)
        await until(lambda: final(server, 2))
        ids = [json.loads(path.read_bytes())["id"] for path in server.root.rglob("stream.json")]
        status, answer = await delete(server, f"/api/streams/{ids[0]}")
        assert (status, [erased["id"] for erased in answer["erased"]]) == (200, [ids[0]])
        status, answer = await delete(server, f"/api/calls/{CALL}")
        assert (status, [erased["id"] for erased in answer["erased"]]) == (200, [ids[1]])
        assert list(server.root.iterdir()) == []


@on_a_loop
async def test_a_live_stream_is_not_erased_and_goes_on(running: Callable[..., Any], hello: Callable[..., Any]) -> None:
    async with running(sinks={"wav": WAV}) as server:
        async with server.dial() as connection:
            await hello(connection)
            await connection.send(media(1))
            await until(lambda: server.receiver.live_streams())
            (live,) = server.folders()
            for path in (f"/api/streams/{live.name}", f"/api/calls/{CALL}"):
                status, answer = await delete(server, path)
                assert (status, answer["error"]) == (409, "not everything was erased: it is live")
                kept = {"id": live.name, "call_id": CALL, "directory": str(live), "why": "live"}
                assert (answer["erased"], answer["kept"]) == ([], [kept])
            await connection.send(media(2))
            await connection.send(STOP)
        await until(lambda: final(server, 1))
        assert server.told()["tracks"]["inbound"]["counters"]["placed"] == 2
        assert (await delete(server, f"/api/calls/{CALL}"))[0] == 200


@on_a_loop
async def test_a_stream_whose_sinks_are_at_work_is_not_erased(
    running: Callable[..., Any], hello: Callable[..., Any], tmp_path: Path
) -> None:
    late = """
        import asyncio

        async def sink(stream, events):
            async for event in events:
                pass
            while not (stream.directory / "go").exists():
                await asyncio.sleep(0.01)
    """
    async with running(sinks={"wav": WAV, "late": written(tmp_path, "late", late)}) as server:
        name = await call(server, hello)
        (folder,) = server.folders()
        status, answer = await delete(server, f"/api/streams/{name}")
        assert (status, answer["error"]) == (409, "not everything was erased: sinks are at work on it")
        [kept] = answer["kept"]
        assert (kept["why"], kept["sinks"]) == ("sinks", ["late"])
        (folder / "go").touch()
        await until(lambda: final(server, 1))
        assert (await delete(server, f"/api/streams/{name}"))[0] == 200


DELIVERS = """
    import asyncio
    from contextlib import asynccontextmanager, suppress

    from receiver.sinks import Plugin

    @asynccontextmanager
    async def plugin():
        async def sink(stream, events):
            async for event in events:
                pass
            pending.add(stream.hold())

        async def deliver():
            while True:
                for path in list(pending):
                    if (path.parent / "delivered").exists():
                        path.unlink()
                        pending.discard(path)
                await asyncio.sleep(0.01)

        pending = set()
        delivering = asyncio.create_task(deliver())
        yield sink
        delivering.cancel()
        with suppress(asyncio.CancelledError):
            await delivering
"""


@on_a_loop
async def test_a_stream_that_a_sink_has_still_to_deliver_stays_also_across_a_restart(
    running: Callable[..., Any],
    hello: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capture_logs: Any,
) -> None:
    monkeypatch.setattr("receiver.recordings.retention.ROUND_S", 0.02)
    monkeypatch.setattr("receiver.recordings.retention.LOOK_S", 0.02)
    sinks = {"cloud": written(tmp_path, "cloud", DELIVERS)}
    async with running(sinks=sinks, recordings={"keep_free_bytes": 2**60}) as server:
        name = await call(server, hello)
        (folder,) = server.folders()
        await until(lambda: final(server, 1))
        status, answer = await delete(server, f"/api/streams/{name}")
        assert (status, answer["kept"][0]["why"], answer["kept"][0]["sinks"]) == (409, "sinks", ["cloud"])
    assert [path.name for path in folder.glob("*.pending")] == ["cloud.pending"]
    with capture_logs() as logs:
        async with running(sinks=sinks, recordings={"keep_days": 1e-6, "keep_free_bytes": 2**60}) as server:
            await until(lambda: any(line["event"] == "old_streams_kept" for line in logs))
            second = await call(server, hello)
            (other,) = (path for path in server.folders() if path.name == second)
            (other / "delivered").touch()
            await until(lambda: not other.exists())
            assert (folder / "stream.json").exists()
            (folder / "cloud.pending").unlink()  # what its owner does when it finds its own list again
            await until(lambda: not folder.exists())
    reasons = {line["stream"]: line["reason"] for line in logs if line["event"] == "stream_erased"}
    assert set(reasons) == {name, second} and set(reasons.values()) <= {"age", "disk"}


@on_a_loop
async def test_of_a_call_what_can_go_goes_and_what_cannot_is_told(
    running: Callable[..., Any], hello: Callable[..., Any]
) -> None:
    async with running(sinks={"wav": WAV}) as server:
        ids = [await call(server, hello) for _ in range(2)]
        other = await call(server, hello, callSid="another")
        async with server.dial() as connection:
            await hello(connection)
            await until(lambda: server.receiver.live_streams())
            status, answer = await delete(server, f"/api/calls/{CALL}")
            assert status == 409
            assert {erased["id"] for erased in answer["erased"]} == set(ids)
            assert [kept["why"] for kept in answer["kept"]] == ["live"]
            await connection.send(STOP)
        await until(lambda: final(server, 2))
        status, answer = await delete(server, f"/api/calls/{CALL}")
        assert (status, [erased["id"] for erased in answer["erased"]]) == (200, [answer["erased"][0]["id"]])
        assert await delete(server, f"/api/calls/{CALL}") == (404, {"error": "there is no stream of this call"})
        assert [path.name for path in server.folders()] == [other]


@on_a_loop
async def test_what_a_crash_left_is_erased_recovered_or_not(running: Callable[..., Any], tmp_path: Path) -> None:
    def crash(name: str) -> Path:
        recording = Recording.create(tmp_path / "recordings", "{date}/{stream_id}", facts(name))
        recording.close()
        files.shutdown()
        return recording.directory

    before = await asyncio.to_thread(crash, "0199-before")
    async with running(sinks={"wav": WAV}) as server:
        assert (before / "stream.json").exists() and not (before / "journal.jsonl").exists()
        after = await asyncio.to_thread(crash, "0199-after")
        status, answer = await delete(server, "/api/streams/0199-before")
        assert (status, answer["files"]) == (200, 1)
        status, answer = await delete(server, f"/api/calls/{CALL}")
        assert (status, [erased["directory"] for erased in answer["erased"]]) == (200, [str(after)])
        assert list(server.root.iterdir()) == []


@on_a_loop
async def test_a_disk_that_fails_is_told_and_the_rest_is_erased_with_the_next_request(
    running: Callable[..., Any], hello: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: Any, **named: Any) -> None:
        raise OSError(5, "Input/output error")

    async with running(sinks={"wav": WAV}) as server:
        name = await call(server, hello)
        await until(lambda: final(server, 1))
        with monkeypatch.context() as broken:
            broken.setattr("os.unlink", failing)
            status, answer = await delete(server, f"/api/streams/{name}")
            assert (await delete(server, f"/api/streams/{name}"))[0] == 404  # it is out of sight, and not gone
            assert [path.name for path in server.root.iterdir()] == [".erased"]
        assert (status, answer["error"]) == (500, "not everything was erased: the disk failed")
        assert (answer["kept"][0]["why"], answer["kept"][0]["problem"]) == ("failed", "Input/output error")
        other = await call(server, hello)
        assert (await delete(server, "/api/calls/another"))[0] == 404
        assert [path.name for path in server.folders()] == [other]
        assert not (server.root / ".erased").exists()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/calls/CALL", {"Origin": "https://evil.example"}, 403),
        ("/api/streams/ID", {"Origin": "https://evil.example"}, 403),
        ("/api/streams/ID", {"Sec_Fetch_Site": "cross-site"}, 403),
        ("/api/streams/ID", {"Host": "evil.example"}, 400),
        ("/api/streams/ID/", {}, 404),
        ("/api/streams", {}, 405),
        ("/api/streams/", {}, 404),
        ("/api/calls/ID", {}, 404),
        ("/api/streams/CALL", {}, 404),
    ],
)
@on_a_loop
async def test_who_may_not_ask_and_what_is_no_stream(
    running: Callable[..., Any], hello: Callable[..., Any], path: str, headers: dict[str, str], status: int
) -> None:
    async with running(sinks={}) as server:
        name = await call(server, hello)
        await until(lambda: final(server, 1))
        answered, _ = await delete(server, path.replace("CALL", CALL).replace("ID", name), **headers)
        assert answered == status
        assert [folder.name for folder in server.folders()] == [name]


@on_a_loop
async def test_the_public_listener_erases_nothing(running: Callable[..., Any], hello: Callable[..., Any]) -> None:
    async with running(sinks={}) as server:
        name = await call(server, hello)
        reader, writer = await asyncio.open_connection(*server.public.split(":"))
        writer.write(f"DELETE /api/streams/{name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert int((await reader.read()).split()[1]) in (404, 405)
        writer.close()
        assert [folder.name for folder in server.folders()] == [name]


@on_a_loop
async def test_it_takes_a_token_that_controls_and_the_log_says_whose(
    running: Callable[..., Any], hello: Callable[..., Any], tmp_path: Path, capture_logs: Any
) -> None:
    (tmp_path / "look.txt").write_text("look-4711")
    (tmp_path / "act.txt").write_text("act-0815")
    tokens = [
        {"name": "prometheus", "file": "look.txt", "scopes": ["read", "listen"]},
        {"name": "operator", "file": "act.txt", "scopes": ["control"]},
    ]
    with capture_logs() as logs:
        async with running(sinks={}, management={"port": 0, "auth": {"tokens": tokens}}) as server:
            name = await call(server, hello)
            await until(lambda: final(server, 1))
            path = f"/api/streams/{name}"
            assert (await delete(server, path))[0] == 401
            assert (await delete(server, path, Authorization="Bearer wrong"))[0] == 401
            assert (await delete(server, path, Authorization="Bearer look-4711"))[0] == 403
            assert [folder.name for folder in server.folders()] == [name]
            assert (await delete(server, path, Authorization="Bearer act-0815"))[0] == 200
    said = [(line["event"], line["by"]) for line in logs if line["event"] in ("erase_asked", "stream_erased")]
    assert said == [("erase_asked", "operator"), ("stream_erased", "operator")]


HOSTILE = [
    "..",
    ".",
    "../..",
    "../../etc",
    "/",
    "//",
    "*",
    "?",
    "\0",
    "\n",
    "%2e%2e",
    "..%2f",
    "-rf",
    "~",
    "{date}",
    "\\",
]


@on_a_loop
async def test_no_id_in_an_address_leads_anywhere(running: Callable[..., Any], hello: Callable[..., Any]) -> None:
    rng = random.Random(4711)
    alphabet = [*HOSTILE, "2026-11-21", "stream.json", ".erased", "recordings", "é", "\ufffd", "x" * 99]
    async with running(sinks={}) as server:
        name = await call(server, hello)
        await until(lambda: final(server, 1))
        outside = server.root.parent / "outside" / name
        outside.mkdir(parents=True)
        (outside / "stream.json").write_bytes((server.folders()[0] / "stream.json").read_bytes())
        hostile = [*HOSTILE, name[:-1], f"{name}x", f"../outside/{name}", f"{server.folders()[0].parent.name}/{name}"]
        while len(hostile) < 250:
            parts = [rng.choice(alphabet) for _ in range(rng.randrange(1, 6))]
            hostile.append("".join(parts))
        for text in hostile:
            for place in ("streams", "calls"):
                raw = rng.random() < 0.3 and text.isascii() and text.isprintable() and " " not in text
                status, _ = await delete(server, f"/api/{place}/{text if raw else quote(text, safe='')}")
                assert status in (400, 404, 405), text
        for path in (server.folders()[0], outside):
            assert (path / "stream.json").exists()
        assert (await delete(server, f"/api/streams/{name}"))[0] == 200
        assert outside.exists()
