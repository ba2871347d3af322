from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import pytest

from receiver.simulate.snippets import CODECS, SNIPPETS, SnippetError, Target

URL = "wss://receiver.example/st'r\"e$am"
TARGET = Target(URL)
NUMBERS = {"CALL_FROM": "+1555 0100", "CALL_TO": "+15550101", "CALL_DIRECTION": "inbound", "CALL_ID": "c-1"}


def shell(command: str, tmp_path: Path, **environment: str) -> list[str]:
    """What a real shell makes of it: the arguments that curl would be given."""
    curl = tmp_path / "curl"
    curl.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\0" "$word"; done\n')
    curl.chmod(0o755)
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SIGNALWIRE_SPACE": "x.signalwire.com"}
    environment |= {"SIGNALWIRE_PROJECT_ID": "p", "SIGNALWIRE_API_TOKEN": "t", **NUMBERS}
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=True, text=True, env=environment)
    return done.stdout.split("\0")[:-1]


def test_swml_streams_both_tracks_with_the_calls_facts() -> None:
    script = json.loads(SNIPPETS["swml"](TARGET))
    assert script["version"] == "1.0.0"
    main = script["sections"]["main"]
    assert [next(iter(step)) for step in main] == ["answer", "stream", "play"]
    assert main[1]["stream"] == {
        "url": URL,
        "track": "both_tracks",
        "codec": "PCMU",
        "authorization_bearer_token": "PUT_RECEIVER_TOKEN_HERE",
        "custom_parameters": {"from": "${call.from}", "to": "${call.to}", "direction": "${call.direction}"},
    }


def test_relay_python_runs_against_the_sdk_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SIGNALWIRE_PROJECT_ID", "SIGNALWIRE_API_TOKEN", "SIGNALWIRE_SPACE", "RECEIVER_TOKEN"):
        monkeypatch.setenv(name, name.lower())
    streamed: list[dict[str, Any]] = []

    class Call:
        device: ClassVar = {"type": "phone", "params": {"from_number": "+15550100", "to_number": "+15550101"}}
        direction = "inbound"

        async def answer(self) -> None:
            streamed.append({})

        async def stream(self, **arguments: Any) -> None:
            streamed.append(arguments)

        async def wait_for_ended(self) -> None:
            streamed.append({})

    class RelayClient:
        def __init__(self, *, project: str, token: str, host: str, contexts: list[str]) -> None:
            self.handler: Any = None

        def on_call(self, handler: Any) -> Any:
            self.handler = handler
            return handler

        def run(self) -> None:
            asyncio.run(self.handler(Call()))

    relay = types.ModuleType("signalwire.relay")
    relay.__dict__["RelayClient"] = RelayClient
    monkeypatch.setitem(sys.modules, "signalwire", types.ModuleType("signalwire"))
    monkeypatch.setitem(sys.modules, "signalwire.relay", relay)
    exec(compile(SNIPPETS["relay-python"](TARGET), "snippet.py", "exec"), {})
    assert streamed == [
        {},
        {
            "url": URL,
            "track": "both_tracks",
            "codec": "PCMU",
            "authorization_bearer_token": "receiver_token",
            "custom_parameters": {"from": "+15550100", "to": "+15550101", "direction": "inbound"},
        },
        {},
    ]


def test_relay_js_is_balanced_and_has_the_sdks_names() -> None:
    text = SNIPPETS["relay-js"](Target("wss://receiver.example/stream"))
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "''", text)
    closing = {")": "(", "}": "{", "]": "["}
    stack: list[str] = []
    for character in bare:
        if character in closing.values():
            stack.append(character)
        elif character in closing:
            assert stack.pop() == closing[character]
    assert not stack
    for part in (
        'call.stream("wss://receiver.example/stream", {',
        "track: 'both_tracks'",
        'codec: "PCMU"',
        "authorizationBearerToken: process.env.RECEIVER_TOKEN",
        "customParameters: {",
        "direction: call.direction",
    ):
        assert part in text


def test_rest_is_one_curl_whose_body_is_the_command(tmp_path: Path) -> None:
    words = shell(SNIPPETS["rest"](TARGET), tmp_path, RECEIVER_TOKEN="s3cret")
    assert words[0] == "https://x.signalwire.com/api/calling/calls"
    assert words[words.index("-u") + 1] == "p:t"
    assert json.loads(words[words.index("-d") + 1]) == {
        "id": "c-1",
        "command": "calling.stream",
        "params": {
            "control_id": "media-stream-receiver",
            "url": URL,
            "track": "both_tracks",
            "codec": "PCMU",
            "authorization_bearer_token": "s3cret",
            "custom_parameters": {"from": "+1555 0100", "to": "+15550101", "direction": "inbound"},
        },
    }


def test_cxml_starts_a_stream_and_goes_on_with_the_call() -> None:
    response = ElementTree.fromstring(SNIPPETS["cxml"](TARGET))
    assert [child.tag for child in response] == ["Start", "Say", "Pause"]
    stream = response[0][0]
    assert stream.attrib == {
        "url": URL,
        "track": "both_tracks",
        "codec": "PCMU@8000h",
        "authBearerToken": "PUT_RECEIVER_TOKEN_HERE",
    }
    assert [(parameter.get("name"), parameter.get("value")) for parameter in stream.findall("Parameter")] == [
        ("from", "{{From}}"),
        ("to", "{{To}}"),
        ("direction", "{{Direction}}"),
    ]


def test_compat_rest_is_one_curl_of_form_fields(tmp_path: Path) -> None:
    words = shell(SNIPPETS["compat-rest"](TARGET), tmp_path, RECEIVER_TOKEN="s3cret")
    assert words[0] == "https://x.signalwire.com/api/laml/2010-04-01/Accounts/p/Calls/c-1/Streams"
    fields = dict(after.split("=", 1) for word, after in itertools.pairwise(words) if word.startswith("--data"))
    assert fields == {
        "Url": URL,
        "Track": "both_tracks",
        "AuthorizationBearerToken": "s3cret",
        "Parameter1.Name": "from",
        "Parameter1.Value": "+1555 0100",
        "Parameter2.Name": "to",
        "Parameter2.Value": "+15550101",
        "Parameter3.Name": "direction",
        "Parameter3.Value": "inbound",
    }


@pytest.mark.parametrize("kind", SNIPPETS)
def test_a_given_token_is_written_out_and_only_then(kind: str, tmp_path: Path) -> None:
    text = SNIPPETS[kind](Target(URL, token="s3cret'$x"))
    assert "RECEIVER_TOKEN" not in text
    if kind in ("rest", "compat-rest"):
        assert any("s3cret'$x" in word for word in shell(text, tmp_path))
    else:
        assert "s3cret'$x" in text


@pytest.mark.parametrize("kind", SNIPPETS)
@pytest.mark.parametrize("codec", CODECS)
def test_a_codec_is_named_as_the_surface_names_it_or_refused(kind: str, codec: str) -> None:
    possible = {"cxml": {"PCMU", "L16@16000h", "L16@24000h"}, "compat-rest": {"PCMU"}}.get(kind, set(CODECS))
    if codec in possible:
        assert kind == "compat-rest" or codec in SNIPPETS[kind](Target(URL, codec))
    else:
        with pytest.raises(SnippetError, match=codec):
            SNIPPETS[kind](Target(URL, codec))
