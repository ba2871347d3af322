"""What a configuration would run, before it runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from receiver.cli.check import check
from receiver.media import opus

APP = typer.Typer()
APP.command()(check)
TOKEN = "Zq9-secretvalue_77.x~Zq9-secretvalue_77.x~"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory and none of the developer's variables."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("RECEIVER"):
            monkeypatch.delenv(name)


def run(text: str | None = None) -> Result:
    if text is None:
        return CliRunner().invoke(APP, [])
    Path("chosen.toml").write_text(text)
    return CliRunner().invoke(APP, ["-c", "chosen.toml"])


def test_without_any_file_the_defaults_are_said(tmp_path: Path) -> None:
    result = run()
    assert result.exit_code == 0, result.output
    lines = {line[:15].strip(): line[15:].strip() for line in result.stdout.splitlines()}
    assert lines["configuration"].startswith("none")
    assert "8080" in lines["public"] and "8081" in lines["management"]
    assert "/stream" in lines["source default"] and "a token will be made" in lines["source default"]
    assert lines["sink wav"] == "wav  every source"
    assert str(tmp_path / "recordings") in lines["recordings"] and "GB free" in lines["recordings"]
    assert "can be served" in result.stdout


def test_nothing_is_made_by_looking(tmp_path: Path) -> None:
    assert run().exit_code == 0
    assert list(tmp_path.iterdir()) == []


def test_sources_tokens_and_sinks_are_listed_by_name_and_no_token_is_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "mine.py").write_text("async def sink(stream, events):\n    async for _ in events: pass\n")
    result = run("""
        [sources.phone]
        path = "/phone"
        dialect = "twilio"
        auth = { use = "bearer", tokens = [{ name = "old", file = "token" }, { name = "new", file = "token" }] }
        [sources.lab]
        path = "/lab/{room}"
        auth = { use = "none" }
        [sinks.mine]
        use = "./mine.py"
        sources = ["phone"]
        when = { consent = "yes" }
    """)
    assert result.exit_code == 0, result.output
    assert "/phone  dialect twilio  auth bearer: old, new\n" in result.stdout
    assert "/lab/{room}  dialect auto  auth none: everybody may connect (warning)\n" in result.stdout
    assert "./mine.py  sources phone  when consent = yes\n" in result.stdout
    assert TOKEN not in result.output


def test_tokens_in_paths_and_signatures_are_listed_without_their_secrets(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN.replace("~", "-"))
    (tmp_path / "key").write_text(TOKEN)
    result = run("""
        [sources.inside]
        path = "/calls/{token}"
        auth = { use = "path_token", tokens = [{ name = "old", file = "token" }, { name = "new", file = "token" }] }
        [sources.signed]
        path = "/signed"
        [sources.signed.auth]
        use = "twilio_signature"
        key = { file = "key" }
        secondary_key = { file = "key" }
        public_url = "wss://voice.example.com/below"
    """)
    assert result.exit_code == 0, result.output
    assert "/calls/{token}  dialect auto  auth path_token: old, new\n" in result.stdout
    said = "auth twilio_signature: key, secondary_key at wss://voice.example.com/below/signed\n"
    assert f"/signed  dialect auto  {said}" in result.stdout
    assert TOKEN[:20] not in result.output


def test_what_a_plugins_own_check_finds_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "async def sink(stream, events): ...\nasync def check():\n    return ['no licence', 'no model']\n"
    )
    result = run("[sinks.mine]\nuse = './mine.py'")
    assert result.exit_code == 2
    assert result.stderr == "receiver check: sinks.mine: no licence; no model\n"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[server]\nprot = 1", "server.prot"),
        ("[server]\nport = '8080'", "server.port"),
        ("[sinks.x]\nuse = 'no_such_sink'", "sinks.x"),
        ("[sinks.wav]\nuse = 'wav'\noptions = { layuot = 'both' }", "sinks.wav.options.layuot"),
        (
            "[sources.a]\nauth = { use = 'bearer', tokens = [{ name = 'main', env = 'NOT_SET' }] }",
            "sources.a.auth.tokens.0",
        ),
        (
            "[sources.a.auth]\nuse = 'twilio_signature'\npublic_url = 'wss://a.example'\nkey = { env = 'NOT_SET' }",
            "sources.a.auth.key: the environment variable NOT_SET is not set",
        ),
    ],
)
def test_what_would_stop_the_start_is_named_by_its_key_and_ends_with_2(text: str, key: str) -> None:
    result = run(text)
    assert result.exit_code == 2
    assert result.stderr.startswith("receiver check: ") and key in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_file_that_is_not_there_is_said() -> None:
    result = CliRunner().invoke(APP, ["-c", "missing.toml"])
    assert result.exit_code == 2
    assert "missing.toml" in result.stderr


def test_recordings_that_cannot_be_written_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("[recordings]\ndirectory = 'file/below'")
    assert result.exit_code == 2
    assert "recordings.directory: " in result.stderr and "is not a directory" in result.stderr
    result = run("[recordings]\ndirectory = '/proc/recordings'")
    assert result.exit_code == 2 or os.access("/proc", os.W_OK)


def test_a_directory_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    result = run()
    assert result.exit_code == 2
    assert result.stderr == f"receiver check: recordings.directory: {tmp_path} cannot be written to\n"


def test_too_little_space_and_no_sinks_are_warned_about() -> None:
    result = run(f"sinks = {{}}\n[limits]\nfree_bytes = {2**62}")
    assert result.exit_code == 0, result.output
    assert "streams would be refused (warning)" in result.stdout
    assert "nothing listens (warning)" in result.stdout


def test_the_library_that_decodes_opus_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"decoded by {'libopus' if opus.backend() == 'libopus' else 'PyAV'}" in run().stdout
    monkeypatch.setattr(opus, "backend", lambda: None)
    result = run()
    assert result.exit_code == 0
    assert re.search("^OPUS +would be refused: install libopus", result.stdout, re.MULTILINE)


def test_whether_g722_can_be_decoded_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.search("^G722 +decoded by libg722$", run().stdout, re.MULTILINE)
    monkeypatch.setitem(sys.modules, "G722", None)
    result = run()
    assert result.exit_code == 0
    assert re.search(r"^G722 +would be refused: install media-stream-receiver\[g722\]$", result.stdout, re.MULTILINE)


def test_no_server_is_loaded_for_it() -> None:
    program = "import sys, receiver.cli.check; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert not {"uvicorn", "starlette"} & set(result.stdout.split())


def test_that_captures_are_on_is_said() -> None:
    assert "\ncaptures " not in run("[captures]\n").stdout
    result = run("""
        [captures]
        enabled = true
        when = { capture = "yes" }
    """)
    assert "every source  when capture = yes: all that is said is kept" in result.stdout


def test_a_certificate_is_looked_at() -> None:
    tls = Path(__file__).parents[1] / "asgi" / "tls"
    text = '[server.tls]\ncertificate = "{}"\nkey = "{}"\n'
    good = run(text.format(tls / "certificate.pem", tls / "key.pem"))
    assert good.exit_code == 0 and "https://0.0.0.0:8080" in good.stdout
    bad = run(text.format(tls / "certificate.pem", tls / "other_key.pem"))
    assert bad.exit_code == 2 and "server.tls.key: is not the key of" in bad.output


def test_who_may_ask_the_management_listener_is_said_and_a_missing_token_stops_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = """
        [management]
        host = "0.0.0.0"
        [management.auth]
        tokens = [
            { name = "prometheus", env = "RECEIVER_LOOK", scopes = ["read"] },
            { name = "operator", env = "RECEIVER_ACT", scopes = ["read", "control"] },
        ]
        """
    monkeypatch.setenv("RECEIVER_LOOK", TOKEN)
    result = run(table)
    assert result.exit_code == 2
    assert "management.auth.tokens.1" in result.stderr
    monkeypatch.setenv("RECEIVER_ACT", f"{TOKEN}1")
    result = run(table)
    assert "http://0.0.0.0:8081  prometheus may read  operator may read, control" in result.stdout
    assert TOKEN not in result.stdout + result.stderr
