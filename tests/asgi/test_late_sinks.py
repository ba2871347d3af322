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
from receiver.recordings import ledger, naming

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
            assert before.pop("sinks")["late"]["status"] == "running"
            assert {name: told["status"] for name, told in after.pop("sinks").items()} == {"late": "ok", "wav": "ok"}
            assert after == before

    asyncio.run(run())


def test_what_is_not_kept_reaches_the_other_sinks_and_floods_nobody(running: Any, hello: Any, tmp_path: Path) -> None:
    talker = """
        from receiver.sinks import each

        async def sink(stream, events):
            async for event in events:
                for number in range(3000):
                    stream.annotate("half", start=0, end=1, rate=8000, data=number, kept=False)
                stream.annotate("whole", start=0, end=1, rate=8000)
                break
            await each(events, lambda event: None)
        """
    listener = """
        from receiver.sinks import Annotation

        async def sink(stream, events):
            heard = []
            async for event in events:
                if isinstance(event, Annotation) and event.kind == "half":
                    heard.append(event.data)
                elif isinstance(event, Annotation):
                    (stream.directory / "heard").write_text(" ".join(map(str, heard)) + " end")
        """

    async def run() -> Path:
        sinks = {"talker": sink(tmp_path, "talker", talker), "listener": sink(tmp_path, "listener", listener)}

        def heard(folder: Path) -> bool:
            return (folder / "heard").exists() and (folder / "heard").read_text().endswith("end")

        async with running(sinks=sinks) as server:
            return await talk(server, hello, meanwhile=heard)

    folder = asyncio.run(run())
    numbers = [int(number) for number in (folder / "heard").read_text().split()[:-1]]
    assert numbers == sorted(set(numbers)) and numbers[0] == 0
    content = told(folder)
    assert [note["kind"] for note in content["annotations"]] == ["whole"]
    assert content["omitted"] == {} and {sink["status"] for sink in content["sinks"].values()} == {"ok"}


@pytest.mark.parametrize("plain", [False, True])
def test_what_cannot_be_said_is_the_sinks_own_error_and_nobody_elses(
    running: Any, hello: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, plain: bool
) -> None:
    source = """
        import json

        KIND def sink(stream, events):
            said = {}

            def attempt(name, call, *arguments, **named):
                try:
                    call(*arguments, **named)
                except Exception as error:
                    said[name] = f"{type(error).__name__}: {error}"

            span = {"start": 0, "end": 1, "rate": 8000}
            attempt("before", stream.annotate, "before", data=1, **span)
            attempt("odd", stream.annotate, "odd", data=object(), **span)
            attempt("half", stream.annotate, "half", start=0.5, end=1, rate=8000)
            attempt("elsewhere", stream.add_file, "/etc/passwd", kind="text", media_type="text/plain")
            attempt("after", stream.annotate, "after", data=2, **span)
            (stream.directory / "said.json").write_text(json.dumps(said))
            attempt("file", stream.add_file, f"{stream.directory}/said.json", kind="said", media_type="text/json")
            KIND for event in events:
                pass
        """.replace("KIND ", "" if plain else "async ")
    caplog.set_level("INFO")

    async def run() -> Path:
        async with running(sinks={"odd": sink(tmp_path, "odd", source), "wav": WAV}) as server:
            return await talk(server, hello)

    folder = asyncio.run(run())
    content = told(folder)
    assert [(note["kind"], note["data"]) for note in content["annotations"]] == [("before", 1), ("after", 2)]
    assert {file["path"] for file in content["files"]} == {"inbound.wav", "said.json"}
    said = json.loads((folder / "said.json").read_text())
    assert said.keys() == {"odd", "half", "elsewhere"}
    assert said["odd"].startswith("ValueError: sink odd: the data of annotation 'odd' is not JSON")
    assert said["half"].startswith("TypeError: annotation 'half': start is a float")
    assert said["elsewhere"].startswith("ValueError: /etc/passwd is not in the stream's directory")
    assert soundfile.info(folder / "inbound.wav").frames == PACKETS * 160
    assert content["sinks"].keys() == {"odd", "wav"}
    assert {told["status"] for told in content["sinks"].values()} == {"ok"}
    assert "sinks" not in lines(caplog, "stream_ended")[0]
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_other_sinks_hear_a_copy_of_what_was_said_and_of_nothing_that_had_no_room(
    running: Any, hello: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "MAX_ANNOTATION_BYTES", 50_000)
    speaker = sink(
        tmp_path,
        "speaker",
        """
        async def sink(stream, events):
            data = {"words": ["hello", ("a", "tuple")]}
            stream.annotate("first", start=0, end=1, rate=8000, data=data)
            data["words"] = None
            for number in range(100):
                stream.annotate("large", start=number, end=number, rate=8000, data="x" * 10_000)
            stream.annotate("last", start=0, end=1, rate=8000)
            async for event in events:
                pass
        """,
    )
    listener = sink(
        tmp_path,
        "listener",
        """
        import json

        from receiver.sinks import Annotation

        async def sink(stream, events):
            heard = []
            async for event in events:
                if isinstance(event, Annotation):
                    heard.append((event.kind, event.data if event.kind == "first" else None))
                    if event.kind == "last":
                        (stream.directory / "heard.json").write_text(json.dumps(heard))
        """,
    )

    async def run() -> Path:
        async with running(sinks={"listener": listener, "speaker": speaker}) as server:
            return await talk(server, hello, meanwhile=lambda folder: (folder / "heard.json").exists())

    folder = asyncio.run(run())
    content = told(folder)
    expected = [["first", {"words": ["hello", ["a", "tuple"]]}], *[["large", None]] * 4, ["last", None]]
    assert json.loads((folder / "heard.json").read_text()) == expected
    assert [note["kind"] for note in content["annotations"]] == [kind for kind, _ in expected]
    assert content["omitted"] == {"annotations": 96}
    assert content["sinks"]["speaker"]["status"] == "ok"


def test_a_sink_that_fails_is_told_with_its_error_in_the_document_and_in_the_line_of_the_end(
    running: Any, hello: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failing = sink(
        tmp_path,
        "failing",
        """
        async def sink(stream, events):
            raise OSError(28, "No space left on device")
        """,
    )
    caplog.set_level("INFO")

    async def run() -> Path:
        async with running(sinks={"failing": failing, "wav": WAV}) as server:
            return await talk(server, hello)

    folder = asyncio.run(run())
    error = "OSError: [Errno 28] No space left on device"
    assert told(folder)["sinks"] == {
        "failing": {
            "status": "failed",
            "error": error,
            "dropped_s": {"inbound": 0.5},
            "events_dropped": 0,
            "restarts": 0,
        },
        "wav": {"status": "ok", "error": None, "dropped_s": {}, "events_dropped": 0, "restarts": 0},
    }
    (ended,) = lines(caplog, "stream_ended")
    assert ended["sinks"] == {"failing": {"status": "failed", "error": error, "dropped_s": {"inbound": 0.5}}}


def test_a_sink_that_was_too_slow_is_told_with_the_seconds_it_missed(
    running: Any, hello: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slow = sink(
        tmp_path,
        "slow",
        """
        import time

        def sink(stream, events):
            next(events)
            while not (stream.directory / "go").exists():
                time.sleep(0.01)
            for event in events:
                pass
        """,
    )
    caplog.set_level("INFO")

    async def run() -> Path:
        async with running(sinks={"slow": {**slow, "buffer_s": 0.1}, "wav": WAV}) as server:
            folder = await talk(server, hello)
            (folder / "go").touch()
            await until(lambda: not (folder / "journal.jsonl").exists())
            return folder

    folder = asyncio.run(run())
    (ended,) = lines(caplog, "stream_ended")
    assert ended["sinks"].keys() == {"slow"}
    assert ended["sinks"]["slow"]["status"] == "running"  # as it was then
    missed = told(folder)["sinks"]["slow"]
    assert missed["status"] == "ok" and missed["error"] is None
    assert 0 < missed["dropped_s"]["inbound"] <= 0.5
    assert ended["sinks"]["slow"]["dropped_s"] == missed["dropped_s"]


@pytest.mark.parametrize(
    ("error", "event"),
    [(OSError(28, "No space left on device"), "recording_not_made"), (KeyError("a mistake"), "internal_error")],
)
def test_a_folder_that_cannot_be_made_is_one_line_and_the_peer_is_told(
    running: Any,
    hello: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    event: str,
) -> None:
    caplog.set_level("INFO")

    def full(*_: Any, **__: Any) -> None:
        raise error

    async def run() -> None:
        async with running(sinks={"wav": WAV}) as server:
            with monkeypatch.context() as patched:
                patched.setattr(naming, "make_directory", full)
                async with server.dial() as connection:
                    await hello(connection)
                    await connection.wait_closed()
                    assert connection.close_code == 1011
            await talk(server, hello)  # there is room again

    asyncio.run(run())
    (line,) = [line for name in ("recording_not_made", "internal_error") for line in lines(caplog, name)]
    assert (line["event"], line["level"]) == (event, "error")
    if event == "recording_not_made":
        assert line["problem"] == "[Errno 28] No space left on device" and "exception" not in line
    assert len(lines(caplog, "connection_ended")) == len(lines(caplog, "stream_ended")) == 1


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
    assert after["sinks"]["failing"] == {
        "status": "failed",
        "error": "ValueError: no use",
        "dropped_s": {"inbound": 0.5},
        "events_dropped": 0,
        "restarts": 0,
    }


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
