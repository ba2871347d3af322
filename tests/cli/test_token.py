"""A new token, for a person or for a pipe."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from receiver.auth.authenticator import Upgrade
from receiver.auth.bearer import Bearer
from receiver.auth.token_digest import path_token_digest, token_digest
from receiver.cli.token import token

TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


def test_into_a_pipe_goes_the_token_alone_and_never_the_same_twice() -> None:
    program = "from receiver.cli.token import token; token(); token()"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    first, second = result.stdout.split("\n")[:2]
    assert TOKEN.fullmatch(first) and TOKEN.fullmatch(second)
    assert first != second
    assert result.stdout == f"{first}\n{second}\n"


def test_a_person_is_told_how_to_set_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    token()
    text = capsys.readouterr().out
    made = text.splitlines()[0]
    assert TOKEN.fullmatch(made)
    assert f"export RECEIVER_TOKEN={made}\n" in text
    assert f"Authorization: Bearer {made}\n" in text
    assert "RECEIVER_TOKEN_FILE" in text


def test_what_is_made_lets_a_peer_in(capsys: pytest.CaptureFixture[str]) -> None:
    token()
    made = capsys.readouterr().out.strip()
    bearer = Bearer(lambda: [token_digest("main", made)])
    assert bearer.authenticate(Upgrade([(b"authorization", f"Bearer {made}".encode())]), 0.0) == "main"
    assert path_token_digest("main", made) == token_digest("main", made)
