from __future__ import annotations

import os
import subprocess
import sys
from typing import get_args

import pytest

from receiver.auth import AUTHENTICATORS, open_authenticator
from receiver.auth.authenticator import Credentials, SigningKey, Upgrade
from receiver.auth.token_digest import token_digest
from receiver.auth.twilio_signature import HEADER, signature
from receiver.errors import AccessDenied
from receiver.sources import Source


def test_every_authenticator_that_can_be_configured_is_registered_under_its_name() -> None:
    configurable = {
        get_args(auth.model_fields["use"].annotation)[0] for auth in get_args(Source.model_fields["auth"].annotation)
    }
    assert configurable == set(AUTHENTICATORS)


def test_each_asks_for_what_it_is_called_after_and_none_for_nothing() -> None:
    url = "wss://voice.example.com"
    credentials = Credentials(lambda: [token_digest("main", "x")], lambda: [SigningKey("key", "k")], url)
    signed = (HEADER.encode(), signature("k", f"{url}/a").encode())
    upgrades = {
        "bearer": Upgrade([(b"authorization", b"Bearer x")], b"/a"),
        "path_token": Upgrade([], b"/a", parameters={"token": "x"}),
        "twilio_signature": Upgrade([signed], b"/a"),
        "none": Upgrade([], b"/a"),
    }
    names = {"bearer": "main", "path_token": "main", "twilio_signature": "key", "none": None}
    assert set(upgrades) == set(AUTHENTICATORS)
    for use in AUTHENTICATORS:
        authenticator = open_authenticator(use, credentials)
        assert authenticator.authenticate(upgrades[use], 0.0) == names[use]
        for other in upgrades.keys() - {use} if use != "none" else ():
            with pytest.raises(AccessDenied):
                authenticator.authenticate(upgrades[other], 0.0)


def test_without_tokens_or_keys_nobody_comes_in() -> None:
    for use in AUTHENTICATORS.keys() - {"none"}:
        with pytest.raises(AccessDenied):
            open_authenticator(use, Credentials()).authenticate(Upgrade([], b"/a", parameters={"token": ""}), 0.0)


def test_a_request_and_a_key_show_nothing() -> None:
    assert repr(Upgrade([(b"a", b"s3cr3t")], b"/s3cr3t", b"s3cr3t", {"token": "s3cr3t"})) == "Upgrade()"
    assert repr(SigningKey("key", "s3cr3t")) == "SigningKey(name='key')"


def test_an_unknown_authenticator_is_an_error() -> None:
    with pytest.raises(KeyError):
        open_authenticator("guess", Credentials())


def test_authentication_loads_no_loop_no_server_and_no_configuration() -> None:
    program = "import sys, receiver.auth; print(*sys.modules)"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert not loaded & {"asyncio", "socket", "logging", "starlette", "uvicorn", "pydantic", "receiver.config"}
