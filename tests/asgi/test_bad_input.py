"""Whatever a peer sends: before the start message it is refused with the code that says why, after it, it costs itself.

The numbers in the names of cases are those of the catalogue of bad input that this project answers row by row.
"""

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from receiver.media.opus import OpusEncoder
from receiver.testing import run_receiver

TOKEN = "a-token-of-the-tests"
CONNECTED = '{"event":"connected","protocol":"Call","version":"0.2.0"}'
STOP = '{"event":"stop","sequenceNumber":"99"}'
PACKET = 160
DAY_MS = 86_400_000
NOT_THERE = object()


@dataclass
class Server:
    """A running server; every stream is recorded in a folder named after its call."""

    url: str
    management: str
    root: Path
    token: str = TOKEN

    def dial(self) -> ClientConnection:
        headers = {"Authorization": f"Bearer {self.token}"}
        return connect(self.url, additional_headers=headers, compression=None, proxy=None, ping_interval=None)

    def say(self, *messages: str | bytes) -> int | None:
        """Say it all, and hang up after a stop, else wait for the server to; the code of the close."""
        with self.dial() as ws:
            with contextlib.suppress(ConnectionClosed):
                for message in messages:
                    ws.send(message)
                while messages[-1] != STOP:
                    ws.recv(timeout=30)
        return ws.close_code

    def told(self, call: str) -> dict[str, Any]:
        """The stream.json of a call, once nothing is left to be done."""
        folder = self.root / call
        until(lambda: (folder / "stream.json").exists() and not (folder / "journal.jsonl").exists())
        told: dict[str, Any] = json.loads((folder / "stream.json").read_text())
        return told

    def audio(self, call: str, track: str = "inbound") -> list[int]:
        samples: list[int] = soundfile.read(self.root / call / f"{track}.wav", dtype="int16")[0].tolist()
        return samples

    def folders(self) -> set[str]:
        return {folder.name for folder in self.root.iterdir()}

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://{self.management}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
        return text

    def counted(self, kind: str) -> float:
        found = re.search(rf'^receiver_messages_total{{kind="{kind}",.*}} (.*)$', self.metrics(), re.MULTILINE)
        return float(found[1]) if found else 0.0


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


@contextlib.contextmanager
def serving(folder: Path, **tables: dict[str, Any]) -> Iterator[Server]:
    """A receiver on free ports, in a thread of its own, with the limits of a server."""
    tables = {"server": {"latency_ms": 5}, "recordings": {"path": "{call_id}"}, **tables}
    tables["limits"] = {"burst_s": 30, **tables.get("limits", {})}
    with run_receiver(folder, **tables) as started:
        yield Server(started.url, started.management, started.directory, started.token)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture
def call() -> str:
    return uuid.uuid4().hex


def start(call: str, **changes: Any) -> str:
    """A start message; a field that is NOT_THERE is left out."""
    body = {
        "streamSid": f"stream-of-{call}",
        "accountSid": "an-account",
        "callSid": call,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-L16", "sampleRate": 8000, "channels": 1},
        **changes,
    }
    kept = {name: value for name, value in body.items() if value is not NOT_THERE}
    return json.dumps({"event": "start", "sequenceNumber": "1", "start": kept})


def samples(chunk: int) -> list[int]:
    """The audio of a chunk: every sample of a stream is another number."""
    return list(range((chunk - 1) * PACKET, chunk * PACKET))


def media(number: int, /, *, stream: Any = NOT_THERE, **changes: Any) -> str:
    body = {
        "track": "inbound",
        "chunk": str(number),
        "timestamp": str((number - 1) * 20),
        "payload": base64.b64encode(np.array(samples(number), "<i2").tobytes()).decode(),
        **changes,
    }
    message: dict[str, Any] = {"event": "media", "sequenceNumber": str(number + 1)}
    if stream is not NOT_THERE:
        message["streamSid"] = stream
    kept = {name: value for name, value in body.items() if value is not NOT_THERE}
    return json.dumps({**message, "media": kept})


def audio(first: int, last: int) -> list[str]:
    return [media(chunk) for chunk in range(first, last + 1)]


def spoken(first: int, last: int) -> list[int]:
    return [sample for chunk in range(first, last + 1) for sample in samples(chunk)]


def raw(value: str, field: str = "chunk") -> str:
    """A media message with something in a field that json.dumps would not write."""
    return media(199, **{field: "HERE"}).replace('"HERE"', value)


def format_of(**changes: Any) -> dict[str, Any]:
    return {"encoding": "audio/x-L16", "sampleRate": 8000, "channels": 1, **changes}


BEFORE_START = [
    ("row-39-binary", [b"\x00\x01"], 1003),
    ("row-39-binary-after-connected", [CONNECTED, b"{}"], 1003),
    ("row-43-not-json", ["hello"], 1007),
    ("row-43-empty", [""], 1007),
    ("row-43-trailing-garbage", [CONNECTED + "}"], 1007),
    ("row-43-two-objects", [CONNECTED + CONNECTED], 1007),
    ("row-43-byte-order-mark", ["\ufeff" + CONNECTED], 1007),
    ("row-44-array", ["[1]"], 1007),
    ("row-44-string", ['"connected"'], 1007),
    ("row-44-null", ["null"], 1007),
    ("row-45-brackets", ["[" * 60_000], 1007),
    ("row-45-nested", ['{"a":' * 9000 + "1" + "}" * 9000], 1007),
    ("row-50-no-event", ["{}"], 1007),
    ("row-50-event-is-a-number", ['{"event":1}'], 1007),
    ("row-50-event-is-null", ['{"event":null}'], 1007),
    ("row-54-media-first", [media(1)], 1008),
    ("row-54-six-media-after-connected", [CONNECTED, *audio(1, 6)], 1008),
    ("row-54-stop-first", [CONNECTED, '{"event":"stop"}'], 1008),
]


@pytest.mark.parametrize(("messages", "code"), [row[1:] for row in BEFORE_START], ids=[row[0] for row in BEFORE_START])
def test_before_the_start_a_bad_message_ends_the_connection(
    server: Server, messages: list[str | bytes], code: int
) -> None:
    before = server.folders()
    assert server.say(*messages) == code
    assert server.folders() == before


HUGE = "9" * 5000
HOSTILE_IDS = {
    "parent": "../x",
    "absolute": "/etc/passwd",
    "percent": "%2e%2e",
    "backslash": "a\\b",
    "300-characters": "x" * 300,
    "emoji": "\U0001f600",
    "right-to-left": "\u202egpj.exe",
    "nul": "a\0b",
    "empty": "",
    "line-break": "a\r\nb",
    "escape": "\x1b[2J",
    "number": 7,
    "object": {},
}
BAD_STARTS = [
    ("row-46-rate-nan", {"mediaFormat": format_of(sampleRate=float("nan"))}, 1007),
    ("row-46-rate-infinity", {"mediaFormat": format_of(sampleRate=float("-inf"))}, 1007),
    ("row-46-parameter-nan", {"customParameters": {"x": [float("nan")]}}, 1007),
    ("row-48-lone-surrogate", {"callSid": "\ud800"}, 4400),
    ("row-48-nul", {"streamSid": "a\0"}, 4400),
    ("row-48-surrogate-in-a-parameter", {"customParameters": {"x": "\ud800"}}, 4400),
    ("row-63-parameters-are-a-list", {"customParameters": ["x"]}, 4400),
    ("row-63-parameters-are-text", {"customParameters": "x"}, 4400),
    ("row-63-100-parameters", {"customParameters": {str(number): 1 for number in range(100)}}, 4400),
    ("row-63-long-key", {"customParameters": {"k" * 4097: 1}}, 4400),
    ("row-63-long-value", {"customParameters": {"k": "v" * 4097}}, 4400),
    ("row-65-no-stream-id", {"streamSid": NOT_THERE}, 4400),
    ("row-65-no-call-id", {"callSid": NOT_THERE}, 4400),
    ("row-65-no-format", {"mediaFormat": NOT_THERE}, 4400),
    ("row-65-no-encoding", {"mediaFormat": {"sampleRate": 8000}}, 4400),
    ("row-66-encoding", {"mediaFormat": format_of(encoding="audio/speex")}, 4415),
    ("row-66-rate", {"mediaFormat": format_of(sampleRate=7999)}, 4415),
    ("row-66-no-rate-at-all", {"mediaFormat": format_of(sampleRate=0)}, 4415),
    ("row-66-channels", {"mediaFormat": format_of(channels=9)}, 4415),
    *((f"row-83-{name}-as-stream-id", {"streamSid": value}, 4400) for name, value in HOSTILE_IDS.items()),
    *((f"row-83-{name}-as-call-id", {"callSid": value}, 4400) for name, value in HOSTILE_IDS.items()),
    *((f"row-86-broker-subject-{value}", {"streamSid": value}, 4400) for value in ("a*b", ">", "a b", "a\tb")),
]


@pytest.mark.parametrize(("changes", "code"), [row[1:] for row in BAD_STARTS], ids=[row[0] for row in BAD_STARTS])
def test_a_start_that_cannot_be_used_is_refused(server: Server, call: str, changes: dict[str, Any], code: int) -> None:
    before = server.folders()
    assert server.say(CONNECTED, start(call, **changes), *audio(1, 3)) == code
    assert server.folders() == before


@pytest.mark.parametrize("number", ["1e400", "-1e400", HUGE], ids=["1e400", "minus-1e400", "5000-digits"])
def test_row_46_numbers_beyond_json_in_a_start(server: Server, call: str, number: str) -> None:
    text = start(call, mediaFormat=format_of(sampleRate="HERE")).replace('"HERE"', number)
    assert server.say(CONNECTED, text) == 1007


def test_row_66_the_refusal_names_what_is_not_supported(server: Server, call: str) -> None:
    with server.dial() as ws:
        ws.send(CONNECTED)
        ws.send(start(call, mediaFormat=format_of(encoding="audio/x-speex")))
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(timeout=30)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, "speex" in closed.value.rcvd.reason) == (4415, True)


GOOD_STARTS = [
    ("row-47-duplicate-keys", lambda call: [CONNECTED, start("x").replace('"x"', f'"y", "callSid": "{call}"')], {}),
    (
        "row-49-7000-keys",
        lambda call: [CONNECTED, start(call)[:-1] + "".join(f',"{n}":0' for n in range(7000)) + "}"],
        {},
    ),
    ("row-49-white-space", lambda call: [CONNECTED, start(call)[:-1] + " \n" * 30_000 + "}"], {}),
    ("row-51-unknown-event", lambda call: [CONNECTED, '{"event":"hold"}', start(call)], {"unknown_event": 1}),
    ("row-52-unknown-fields", lambda call: [CONNECTED[:-1] + ',"x":[{}]}', start(call, y={"z": None})], {}),
    ("row-54-five-media-early", lambda call: [CONNECTED, *[media(90)] * 5, start(call)], {"early_media": 5}),
    ("row-55-no-connected", lambda call: [start(call)], {"start_before_connected": 1}),
    ("row-57-connected-twice", lambda call: [CONNECTED, CONNECTED, start(call)], {"second_connected": 1}),
    ("row-65-no-account", lambda call: [CONNECTED, start(call, accountSid=NOT_THERE)], {"start_defect": 1}),
    ("row-65-no-tracks", lambda call: [CONNECTED, start(call, tracks=NOT_THERE)], {"start_defect": 1, "opened": 1}),
    (
        "row-65-rate-and-channels-in-the-name",
        lambda call: [CONNECTED, start(call, mediaFormat={"encoding": "L16/8000/1"})],
        {"start_defect": 2},
    ),
    ("row-67-tracks-are-empty", lambda call: [CONNECTED, start(call, tracks=[])], {"start_defect": 1, "opened": 1}),
    (
        "row-67-unknown-tracks",
        lambda call: [CONNECTED, start(call, tracks=["../x", 7])],
        {"start_defect": 2, "opened": 1},
    ),
    (
        "row-67-one-track-twice",
        lambda call: [CONNECTED, start(call, tracks=["inbound", "inbound_track"])],
        {"start_defect": 1},
    ),
]


@pytest.mark.parametrize(("opening", "ignored"), [row[1:] for row in GOOD_STARTS], ids=[row[0] for row in GOOD_STARTS])
def test_an_odd_start_is_counted_and_its_audio_recorded(
    server: Server, call: str, opening: Callable[[str], list[str]], ignored: dict[str, int]
) -> None:
    assert server.say(*opening(call), *audio(1, 5), STOP) == 1000
    told = server.told(call)
    expected = {"unannounced_track" if kind == "opened" else kind: count for kind, count in ignored.items()}
    assert (told["end"]["reason"], told["ignored"]) == ("stop", expected)
    assert server.audio(call) == spoken(1, 5)


BETWEEN = [
    ("row-39-binary", [b"\x00\x01"] * 10, {"binary": 10}),
    ("row-43-not-json", ["hello"], {"unreadable": 1}),
    ("row-43-empty", [""], {"unreadable": 1}),
    ("row-43-trailing-garbage", [media(199) + "]"], {"unreadable": 1}),
    ("row-43-byte-order-mark", ["\ufeff" + media(199)], {"unreadable": 1}),
    ("row-43-cut-off", [media(199)[:-9]], {"unreadable": 1}),
    ("row-44-array", [f"[{media(199)}]", "1", "true"], {"unreadable": 3}),
    ("row-45-brackets", ["[" * 60_000], {"unreadable": 1}),
    (
        "row-45-nested-where-nobody-looks",
        [media(199)[:-1] + ',"x":' + "[" * 20_000 + "]" * 20_000 + "}"],
        {"unreadable": 1},
    ),
    ("row-46-nan", [raw("NaN"), raw("NaN", "timestamp")], {"unreadable": 2}),
    ("row-46-infinity", [raw("Infinity"), raw("-Infinity", "timestamp")], {"unreadable": 2}),
    ("row-46-1e400", [raw("1e400"), raw("1e400", "timestamp")], {"unreadable": 2}),
    ("row-46-5000-digits", [raw(HUGE), raw(HUGE, "timestamp")], {"unreadable": 2}),
    ("row-48-surrogate-in-an-id", [media(199, stream="\ud800")], {"unreadable": 1}),
    ("row-48-nul-in-an-id", [media(199, stream="\0")], {"unreadable": 1}),
    ("row-48-surrogate-in-a-mark", ['{"event":"mark","mark":{"name":"\\ud800"}}'], {"unreadable": 1}),
    ("row-50-no-event", ['{"media":{}}', '{"event":["media"]}'], {"unreadable": 2}),
    ("row-51-unknown-event", ['{"event":"hold"}', '{"event":"\\ud800\\r\\n"}'], {"unknown_event": 2}),
    ("row-57-connected-again", [CONNECTED], {"second_connected": 1}),
    ("row-60-another-streams-media", [media(199, stream="another")], {"unreadable": 1}),
    ("row-60-stream-id-of-another-type", [media(199, stream=7), media(199, stream={})], {"unreadable": 2}),
    ("row-68-a-track-of-no-name", [media(199, track="../x"), media(199, track="")], {"unreadable": 2}),
    ("row-69-no-media-at-all", ['{"event":"media"}', '{"event":"media","media":[]}'], {"unreadable": 2}),
    ("no-such-digit", ['{"event":"dtmf","dtmf":{"digit":"55"}}', '{"event":"dtmf"}'], {"unreadable": 2}),
    ("a-mark-of-no-name", ['{"event":"mark","mark":{}}', '{"event":"mark"}'], {"unreadable": 2}),
    ("a-stop-for-another-stream", ['{"event":"stop","streamSid":"another"}'], {"unreadable": 1}),
]


@pytest.mark.parametrize(("bad", "ignored"), [row[1:] for row in BETWEEN], ids=[row[0] for row in BETWEEN])
def test_a_bad_message_within_a_stream_is_counted_and_costs_no_audio(
    server: Server, call: str, bad: list[str | bytes], ignored: dict[str, int]
) -> None:
    assert server.say(CONNECTED, start(call), *audio(1, 10), *bad, *audio(11, 20), STOP) == 1000
    told = server.told(call)
    assert (told["end"]["reason"], told["end"]["stop_received"], told["ignored"]) == ("stop", True, ignored)
    assert told["tracks"]["inbound"]["counters"]["placed"] == 20
    assert server.audio(call) == spoken(1, 20)


def test_row_56_the_same_start_again_is_ignored(server: Server, call: str) -> None:
    assert server.say(CONNECTED, start(call), *audio(1, 10), start(call), *audio(11, 20), STOP) == 1000
    told = server.told(call)
    assert (told["end"]["reason"], told["ignored"]) == ("stop", {"second_start": 1})
    assert server.audio(call) == spoken(1, 20)


FATAL = [
    ("row-39-binary-eleven-times", [b"\x00"] * 11, 1003),
    ("row-56-another-start", [start("another")], 1008),
    ("row-71-payloads-too-large-eleven-times", [media(n, payload="A" * 43_692) for n in range(11, 22)], 1009),
    ("more-than-50-bad-messages", ["?"] * 51, 1008),
    ("more-than-50-bad-payloads", [media(chunk, payload="?") for chunk in range(11, 62)], 1008),
]


@pytest.mark.parametrize(("bad", "code"), [row[1:] for row in FATAL], ids=[row[0] for row in FATAL])
def test_too_much_of_it_ends_the_stream_with_its_audio_kept(
    server: Server, call: str, bad: list[str | bytes], code: int
) -> None:
    assert server.say(CONNECTED, start(call), *audio(1, 10), *bad) == code
    told = server.told(call)
    assert (told["end"]["reason"], told["end"]["stop_received"]) == ("error", False)
    assert told["end"]["close_code"] == code and told["end"]["error"]
    assert server.audio(call)[: 10 * PACKET] == spoken(1, 10)


def test_row_80_audio_far_ahead_of_the_clock_ends_the_stream(server: Server, call: str) -> None:
    second = base64.b64encode(np.full(8000, 7, "<i2").tobytes()).decode()
    flood = [media(chunk, timestamp=str((chunk - 1) * 1000), payload=second) for chunk in range(1, 100)]
    assert server.say(CONNECTED, start(call), *flood) == 4429
    told = server.told(call)
    assert (told["end"]["reason"], told["end"]["close_code"]) == ("error", 4429)
    found = server.audio(call)
    assert set(found[: 30 * 8000]) == {7} and len(found) >= 30 * 8000  # a sink's buffer holds 30 s


def test_row_40_text_that_is_not_utf_8_ends_the_stream_with_its_audio_kept(server: Server, call: str) -> None:
    with server.dial() as ws:
        for message in (CONNECTED, start(call), *audio(1, 10)):
            ws.send(message)
        ws.send(b'{"event":"mark","mark":{"name":"\xff"}}', text=True)
        with pytest.raises(ConnectionClosed):
            ws.recv(timeout=30)
    assert ws.close_code == 1007
    told = server.told(call)
    assert (told["end"]["reason"], told["end"]["stop_received"]) == ("error", False)
    assert server.audio(call) == spoken(1, 10)


def test_row_40_text_that_is_not_utf_8_before_the_start(server: Server) -> None:
    before = server.folders()
    with server.dial() as ws:
        ws.send(b"\xc3\x28", text=True)
        with pytest.raises(ConnectionClosed):
            ws.recv(timeout=30)
    assert ws.close_code == 1007
    assert server.folders() == before


@pytest.mark.parametrize("greeting", [[], [CONNECTED], [CONNECTED, media(1)]], ids=["silent", "greeted", "early-media"])
def test_row_53_without_a_start_the_connection_is_closed(tmp_path: Path, greeting: list[str]) -> None:
    with serving(tmp_path, limits={"start_timeout_s": 0.3}) as impatient, impatient.dial() as ws:
        for message in greeting:
            ws.send(message)
        with pytest.raises(ConnectionClosed):
            ws.recv(timeout=30)
        assert ws.close_code == 4408
        assert impatient.folders() == set()


def test_row_58_what_follows_a_stop_is_counted_and_ignored(server: Server, call: str) -> None:
    before = server.counted("ignored")
    with server.dial() as ws:
        for message in (CONNECTED, start(call), *audio(1, 10), STOP, media(11), STOP, "?"):
            ws.send(message)
        until(lambda: server.counted("ignored") >= before + 3)
    assert ws.close_code == 1000
    told = server.told(call)
    assert (told["end"]["reason"], told["tracks"]["inbound"]["counters"]["received"]) == ("stop", 10)
    assert server.audio(call) == spoken(1, 10)


def test_row_59_a_stream_without_a_stop_is_told_to_be_incomplete(server: Server, call: str) -> None:
    with server.dial() as ws:
        for message in (CONNECTED, start(call), *audio(1, 10)):
            ws.send(message)
    told = server.told(call)
    assert (told["end"]["reason"], told["end"]["stop_received"]) == ("close", False)
    assert server.audio(call) == spoken(1, 10)


def test_row_61_two_live_streams_of_one_id_are_two_streams(
    server: Server, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    with server.dial() as one, server.dial() as two:
        for ws, name in ((one, "one"), (two, "two")):
            ws.send(CONNECTED)
            ws.send(start(f"{name}-{call}", streamSid=call))
            until(lambda name=name: (server.root / f"{name}-{call}").exists())
        for chunk in range(1, 11):
            one.send(media(chunk))
            two.send(media(chunk + 10, chunk=str(chunk), timestamp=str((chunk - 1) * 20)))
        one.send(STOP)
        two.send(STOP)
    assert [server.told(f"{name}-{call}")["stream_id"] for name in ("one", "two")] == [call] * 2
    assert server.audio(f"one-{call}") == spoken(1, 10)
    assert server.audio(f"two-{call}") == spoken(11, 20)
    assert "duplicate_stream_id" in caplog.text


def test_row_62_an_id_that_comes_again_overwrites_nothing(server: Server, call: str) -> None:
    assert server.say(CONNECTED, start(call), *audio(1, 10), STOP) == 1000
    first = server.told(call)
    assert server.say(CONNECTED, start(call), *audio(1, 3), STOP) == 1000
    second = server.told(f"{call}-2")
    assert first["stream_id"] == second["stream_id"] and first["id"] != second["id"]
    assert (server.audio(call), server.audio(f"{call}-2")) == (spoken(1, 10), spoken(1, 3))
    assert server.told(call) == first


def test_row_67_and_68_audio_on_an_unannounced_track_opens_it(server: Server, call: str) -> None:
    both = [text for chunk in range(1, 11) for text in (media(chunk), media(chunk, track="Outbound_Track"))]
    assert server.say(CONNECTED, start(call), *both, STOP) == 1000
    told = server.told(call)
    assert (told["announced_tracks"], list(told["tracks"])) == (["inbound"], ["inbound", "outbound"])
    assert told["ignored"] == {"unannounced_track": 1}
    assert server.audio(call) == server.audio(call, "outbound") == spoken(1, 10)


def test_row_68_only_so_many_tracks_are_opened(server: Server, call: str) -> None:
    many = [media(1, track=f"track-{number}") for number in range(10)]
    assert server.say(CONNECTED, start(call), *audio(1, 10), *many, *audio(11, 20), STOP) == 1000
    told = server.told(call)
    assert (len(told["tracks"]), told["ignored"]) == (8, {"unannounced_track": 7, "unreadable": 3})
    assert server.audio(call) == spoken(1, 20)


BAD_PAYLOADS = {
    "row-69-missing": NOT_THERE,
    "row-69-null": None,
    "row-69-number": 5,
    "row-69-list": ["AAAA"],
    "row-69-empty": "",
    "row-70-garbage": "AAA?AAAA",
    "row-70-white-space": "AAAA AAAA",
    "row-70-line-break": "AAAA\r\nAAAA",
    "row-70-url-alphabet": "AA-_AA-_",
    "row-70-missing-padding": "AAAAAA",
    "row-70-too-much-padding": "QUJD====",
    "row-70-padding-within": "QQ==QQ==",
    "row-71-above-32-kib": "A" * 43_692,
    "row-71-above-a-second": base64.b64encode(bytes(16_002)).decode(),
}


@pytest.mark.parametrize("payload", BAD_PAYLOADS.values(), ids=BAD_PAYLOADS)
def test_a_payload_that_cannot_be_read_is_a_gap_of_its_length(server: Server, call: str, payload: Any) -> None:
    bad = media(11, payload=payload)
    assert server.say(CONNECTED, start(call), *audio(1, 10), bad, *audio(12, 20), STOP) == 1000
    told = server.told(call)
    track = told["tracks"]["inbound"]
    kind = "oversized" if isinstance(payload, str) and len(payload) > 20_000 else "rejected_media"
    assert told["ignored"] == {kind: 1}
    assert (track["counters"]["received"], track["counters"]["placed"], track["counters"]["rejected"]) == (20, 19, 1)
    assert track["gaps"] == [{"start": 10 * PACKET, "end": 11 * PACKET, "cause": "rejected"}]
    assert server.audio(call) == spoken(1, 10) + [0] * PACKET + spoken(12, 20)


def test_row_70_base64_that_spells_null_is_audio(server: Server, call: str) -> None:
    assert server.say(CONNECTED, start(call), *audio(1, 10), media(11, payload="nullnull"), STOP) == 1000
    counters = server.told(call)["tracks"]["inbound"]["counters"]
    assert (counters["placed"], counters["rejected"]) == (11, 0)
    null = np.frombuffer(base64.b64decode("nullnull"), "<i2").tolist()
    assert server.audio(call) == spoken(1, 10) + null


def test_row_72_an_odd_byte_is_cut_off_and_shifts_nothing(server: Server, call: str) -> None:
    odd = base64.b64encode(np.array(samples(11), "<i2").tobytes() + b"\x7f").decode()
    assert server.say(CONNECTED, start(call), *audio(1, 10), media(11, payload=odd), *audio(12, 20), STOP) == 1000
    counters = server.told(call)["tracks"]["inbound"]["counters"]
    assert (counters["trimmed"], counters["placed"], counters["rejected"]) == (1, 20, 0)
    assert server.audio(call) == spoken(1, 20)


@pytest.mark.parametrize(
    "packet", [b"\x03\xff", b"\x08" + bytes(1276), b"\xfb\x00"], ids=["63-frames", "1276-bytes", "no-frames"]
)
def test_row_73_a_corrupt_opus_packet_costs_its_own_20_ms(server: Server, call: str, packet: bytes) -> None:
    encoder = OpusEncoder(48000)
    hum = (8000 * np.sin(np.arange(960 * 20) / 30)).astype(np.int16)
    packets = [encoder.encode(part) for part in np.split(hum, 20)]
    packets[10] = packet
    said = [media(chunk, payload=base64.b64encode(each).decode()) for chunk, each in enumerate(packets, 1)]
    opus = start(call, mediaFormat=format_of(encoding="OPUS", sampleRate=48000))
    assert server.say(CONNECTED, opus, *said, STOP) == 1000
    told = server.told(call)
    track = told["tracks"]["inbound"]
    assert (track["counters"]["length"], track["counters"]["rejected"]) == (960 * 20, 1)
    assert track["gaps"] == [{"start": 9600, "end": 10_560, "cause": "rejected"}]
    found = np.array(server.audio(call))
    assert len(found) == 960 * 20
    assert not found[9600:10_560].any() and np.abs(found[:9600]).max() > 4000 < np.abs(found[10_560:]).max()


ODD_NUMBERS = {
    "missing": NOT_THERE,
    "null": None,
    "negative": "-1",
    "letters": "eleven",
    "arabic-digits": "\u0661\u0661",
    "beyond-2-to-the-63": str(2**63),
    "float": 10.5,
    "boolean": True,
    "list": [11],
}


@pytest.mark.parametrize("value", ODD_NUMBERS.values(), ids=ODD_NUMBERS)
@pytest.mark.parametrize("field", ["chunk", "timestamp"])
def test_row_74_and_75_a_number_that_is_none_counts_as_missing(
    server: Server, call: str, field: str, value: Any
) -> None:
    odd = media(11, **{field: value})
    assert server.say(CONNECTED, start(call), *audio(1, 10), odd, *audio(12, 20), STOP) == 1000
    told = server.told(call)
    track = told["tracks"]["inbound"]
    assert (track["counters"]["unstamped"], track["counters"]["placed"], track["gaps"]) == (1, 20, [])
    assert server.audio(call) == spoken(1, 20)


def test_row_74_without_any_counters_the_order_of_arrival_counts(server: Server, call: str) -> None:
    bare = [
        json.dumps({"event": "media", "media": {"track": "inbound", "payload": json.loads(text)["media"]["payload"]}})
        for text in audio(1, 20)
    ]
    assert server.say(CONNECTED, start(call), *bare, STOP) == 1000
    assert server.told(call)["tracks"]["inbound"]["counters"]["unstamped"] == 20
    assert server.audio(call) == spoken(1, 20)


def test_row_76_packets_in_disorder_are_put_in_order(server: Server, call: str) -> None:
    said = audio(1, 40)
    said = [said[0], *said[32:0:-1], *said[33:]]  # 32 chunks, the last of them first
    assert server.say(CONNECTED, start(call), *said, STOP) == 1000
    track = server.told(call)["tracks"]["inbound"]
    assert (track["gaps"], track["counters"]["placed"]) == ([], 40)
    assert track["counters"]["reordered"] > 0
    assert server.audio(call) == spoken(1, 40)


def test_row_76_a_packet_that_comes_too_late_is_counted_and_not_inserted(server: Server, call: str) -> None:
    said = audio(1, 60)
    late = said.pop(10)
    assert server.say(CONNECTED, start(call), *said, late, STOP) == 1000
    track = server.told(call)["tracks"]["inbound"]
    assert (track["counters"]["late"], track["counters"]["placed"]) == (1, 59)
    assert track["gaps"] == [{"start": 10 * PACKET, "end": 11 * PACKET, "cause": "lost"}]
    assert server.audio(call) == spoken(1, 10) + [0] * PACKET + spoken(12, 60)


def test_row_77_a_repeated_chunk_is_dropped_and_counted(server: Server, call: str) -> None:
    assert server.say(CONNECTED, start(call), *audio(1, 10), media(10), media(3), *audio(11, 20), STOP) == 1000
    counters = server.told(call)["tracks"]["inbound"]["counters"]
    assert (counters["duplicate"], counters["placed"], counters["received"]) == (2, 20, 22)
    assert server.audio(call) == spoken(1, 20)


def test_row_78_a_missing_chunk_is_a_hole_of_its_length(server: Server, call: str) -> None:
    assert server.say(CONNECTED, start(call), *audio(1, 10), *audio(13, 20), STOP) == 1000
    track = server.told(call)["tracks"]["inbound"]
    assert track["gaps"] == [{"start": 10 * PACKET, "end": 12 * PACKET, "cause": "lost"}]
    assert server.audio(call) == spoken(1, 10) + [0] * 2 * PACKET + spoken(13, 20)


JUMPS = {
    "row-78-a-day-ahead": lambda chunk: media(chunk, timestamp=str((chunk - 1) * 20 + DAY_MS)),
    "row-78-backwards": lambda chunk: media(chunk, timestamp=str((chunk - 11) * 20)),
    "row-79-all-counters-restart": lambda chunk: media(chunk, chunk=str(chunk - 50), timestamp=str((chunk - 51) * 20)),
    "row-79-chunks-restart": lambda chunk: media(chunk, chunk=str(chunk - 50)),
}


@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
def test_a_jump_that_no_audio_explains_is_told_and_the_audio_goes_on(
    server: Server, call: str, jump: Callable[[int], str]
) -> None:
    after = [jump(chunk) for chunk in range(51, 61)]
    assert server.say(CONNECTED, start(call), *audio(1, 50), *after, STOP) == 1000
    told = server.told(call)
    (found,) = told["discontinuities"]
    place = found["position"]
    assert place >= 50 * PACKET
    assert told["tracks"]["inbound"]["counters"]["discontinuities"] == 1
    assert server.audio(call) == spoken(1, 50) + [0] * (place - 50 * PACKET) + spoken(51, 60)


HOSTILE_TEXTS = {
    **{name: value for name, value in HOSTILE_IDS.items() if isinstance(value, str)},
    "device": "CON",
    "dots": "..",
    "dot": ".",
    "option": "-rf",
    "shell": "$(touch x); `touch x`",
    "markup": "<script>\N{LINE SEPARATOR}",
    "template": "{0.__class__} %s %n {call_id}",
}


def test_row_83_hostile_texts_stay_data(tmp_path: Path) -> None:
    tables = {"recordings": {"path": "{parameters.name}/{call_id}"}}
    said = {f"call{index}": text for index, text in enumerate(HOSTILE_TEXTS.values())}
    with serving(tmp_path, **tables) as hostile:
        before = set(tmp_path.iterdir())
        for call, text in said.items():
            parameters = {"name": text, "x" + text[:50]: {"deep": [text]}}
            mark = json.dumps({"event": "mark", "mark": {"name": text or "none"}})
            opening = start(call, customParameters=parameters)
            assert hostile.say(CONNECTED, opening, *audio(1, 3), mark, STOP) == 1000
        until(lambda: len(list(hostile.root.glob("*/*/stream.json"))) == len(said))
        until(lambda: not list(hostile.root.glob("*/*/journal.jsonl")))
        for file in hostile.root.glob("*/*/stream.json"):
            told = json.loads(file.read_text())
            text = said[told["call_id"]]
            assert told["parameters"] == {"name": text, "x" + text[:50]: {"deep": [text]}}
            assert told["marks"][0]["name"] == (text or "none")
            assert soundfile.read(file.parent / "inbound.wav", dtype="int16")[0].tolist() == spoken(1, 3)
    assert set(tmp_path.iterdir()) == before
    names = [path.name for path in hostile.root.rglob("*")]
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}", name) for name in names)
    assert "CON" not in names


@pytest.mark.parametrize("hostile", ["CON", ".", "..", "...", "-rf", "a:b", "nul.wav"])
def test_row_83_an_id_that_is_allowed_names_a_safe_folder(server: Server, hostile: str) -> None:
    before, outside = server.folders(), set(server.root.parent.iterdir())
    assert server.say(CONNECTED, start(hostile), *audio(1, 3), STOP) == 1000
    until(lambda: len(server.folders()) > len(before))
    (made,) = server.folders() - before
    assert server.told(made)["call_id"] == hostile
    assert (re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", made) and made != hostile) or hostile == "-rf"
    assert set(server.root.parent.iterdir()) == outside


def test_row_84_nothing_said_can_forge_a_log_line_or_show_a_secret_in_one(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[server]\nhost = "127.0.0.1"\nport = 0\n[management]\nport = 0\n[log]\nlevel = "debug"\nformat = "json"\n'
    )
    hostile = '\r\n{"event":"forged","level":"error"}\r\n\x1b[31m\x00{} {0} %s %n \u2028\u202e'
    environ = {**os.environ, "RECEIVER_TOKEN": TOKEN}
    command = [sys.executable, "-m", "receiver", "serve", "-c", "config.toml"]
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE) as serve:
        assert serve.stderr is not None
        said = b""
        try:
            line: dict[str, Any] = {"event": ""}
            while line["event"] != "listening":
                said += (text := serve.stderr.readline())
                line = json.loads(text)
            url = line["public"].replace("http", "ws") + "/stream"
            # A quiet pipe may be full before we read it all: nothing here says as much.
            whole = [CONNECTED, start("call", customParameters={hostile: hostile, "password": TOKEN})]
            whole += [*audio(1, 10), hostile, json.dumps({"event": hostile})]
            whole += [json.dumps({"event": "mark", "mark": {"name": hostile}}), media(11, payload=hostile)]
            whole += [media(12, stream=hostile), '{"event":"dtmf","dtmf":{"digit":"7"}}', STOP]
            say = Server(url, "", tmp_path).say
            assert say(*whole) == 1000
            assert say(CONNECTED, start("call", streamSid=hostile)) == 4400
            assert say(CONNECTED, start("call", mediaFormat=format_of(encoding=hostile))) == 4415
            assert say(hostile) == 1007
            assert say(b"\xff") == 1003
            with contextlib.suppress(Exception):
                connect(url, additional_headers={"Authorization": "Bearer wrong-secret"}, proxy=None).close()
            with contextlib.suppress(Exception):
                connect(f"{url}?token={TOKEN}", proxy=None).close()
            with Server(url, "", tmp_path).dial() as ws:
                ws.send(b'"\xff\xff"', text=True)
                with pytest.raises(ConnectionClosed):
                    ws.recv(timeout=30)
        finally:
            serve.send_signal(signal.SIGINT)
            said += serve.stderr.read()
    assert serve.returncode == 0
    lines = [json.loads(text) for text in said.split(b"\n")[:-1]]
    assert all(isinstance(line, dict) and {"event", "level", "timestamp", "logger"} <= set(line) for line in lines)
    events = {line["event"] for line in lines}
    assert {"stream_started", "stream_ended", "handshake_refused", "stopped"} <= events
    assert "forged" not in events
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", said)
    payload = json.loads(media(3))["media"]["payload"]
    for secret in (TOKEN, "wrong-secret", payload, payload[:24]):
        assert secret.encode() not in said


def test_row_85_ids_never_become_labels(server: Server) -> None:
    ids = [uuid.uuid4().hex for _ in range(50)]
    before = server.metrics()
    for each in ids:
        assert server.say(CONNECTED, start(each, accountSid=each, tracks=[each]), media(1, track=each), STOP) == 1000
    after = server.metrics()
    assert not [each for each in ids if each in after]
    assert len(after.splitlines()) <= len(before.splitlines()) + 20


def test_row_86_ids_with_dots_are_only_ever_data(server: Server, call: str) -> None:
    assert server.say(CONNECTED, start(call, streamSid="a.b.c"), *audio(1, 3), STOP) == 1000
    assert server.told(call)["stream_id"] == "a.b.c"
