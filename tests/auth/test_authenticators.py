from __future__ import annotations

import os
import subprocess
import sys
from typing import get_args

import pytest

from receiver.auth import AUTHENTICATORS, open_authenticator
from receiver.auth.bearer import Bearer, token_digest
from receiver.auth.open import Open
from receiver.config import Source
from receiver.errors import AccessDenied


def test_every_authenticator_that_can_be_configured_is_registered_under_its_name() -> None:
    configurable = {
        get_args(auth.model_fields["use"].annotation)[0] for auth in get_args(Source.model_fields["auth"].annotation)
    }
    assert configurable == set(AUTHENTICATORS)


def test_bearer_asks_for_a_token_and_none_does_not() -> None:
    bearer = open_authenticator("bearer", lambda: [token_digest("main", "x")])
    assert isinstance(bearer, Bearer)
    assert bearer.authenticate([(b"authorization", b"Bearer x")], b"", 0.0) == "main"
    with pytest.raises(AccessDenied):
        bearer.authenticate([], b"", 0.0)
    nobody = open_authenticator("none", list)
    assert isinstance(nobody, Open)
    assert nobody.authenticate([], b"", 0.0) is None


def test_an_unknown_authenticator_is_an_error() -> None:
    with pytest.raises(KeyError):
        open_authenticator("guess", list)


def test_authentication_loads_no_loop_no_server_and_no_configuration() -> None:
    program = "import sys, receiver.auth; print(*sys.modules)"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert not loaded & {"asyncio", "socket", "logging", "starlette", "uvicorn", "pydantic", "receiver.config"}
