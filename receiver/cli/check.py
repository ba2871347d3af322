"""``receiver check``: what would run, and what would stop it from running. Serves, recovers and delivers nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from receiver.asgi.tls import server_context
from receiver.auth.authenticator import SigningKey, TokenDigest
from receiver.config import Config
from receiver.config_file import load_config
from receiver.errors import ConfigError
from receiver.media import g722, opus
from receiver.sinks.loading import load
from receiver.sources import Source
from receiver.tokens import Keys, management_tokens, source_tokens

OPUS_LIBRARIES = {"libopus": "decoded by libopus", "pyav": "decoded by PyAV"}
NO_OPUS = "would be refused: install libopus (Debian: libopus0) or media-stream-receiver[opus]"
NO_G722 = "would be refused: install media-stream-receiver[g722]"


def check(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Else $RECEIVER_CONFIG, else ./config.toml.", metavar="FILE"),
    ] = None,
) -> None:
    """Read the configuration and say what would run.

    Exits with 0, or with 2 if it cannot run, and names the key that is wrong.
    """
    try:
        lines = list(_findings(load_config(config, os.environ)))
    except ConfigError as error:
        typer.echo(f"receiver check: {error}", err=True)
        raise typer.Exit(2) from None
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        print(f"{name:<{width}}  {text}")
    print("\nThis configuration can be served.")


def _findings(config: Config) -> Iterator[tuple[str, str]]:
    """A line per thing that would run. Raises ConfigError for one that would not."""
    yield "configuration", str(config.origin or "none: the defaults, and RECEIVER_ variables")
    yield "public", f"{_scheme(config)}://{config.server.host}:{config.server.port}"
    yield "management", f"http://{config.management.host}:{config.management.port}{_scopes(config)}"
    for name, source in config.sources.items():
        yield f"source {name}", f"{source.path}  dialect {source.dialect}  {_auth(config, name, source)}"
    for name, sink in config.sinks.items():
        problems = asyncio.run(load(name, sink.use, sink.options, config.base).check())
        if problems:
            raise ConfigError(f"sinks.{name}", "; ".join(problems))
        which = "every source" if sink.sources is None else f"sources {', '.join(sink.sources)}"
        when = "".join(f"  when {key} = {value}" for key, value in sink.when.items())
        yield f"sink {name}", f"{sink.use}  {which}{when}"
    if not config.sinks:
        yield "sinks", "none: nothing listens (warning)"
    if config.captures.enabled:
        which = "every source" if config.captures.sources is None else f"sources {', '.join(config.captures.sources)}"
        when = "".join(f"  when {key} = {value}" for key, value in config.captures.when.items())
        yield "captures", f"{which}{when}: all that is said is kept"
    yield "OPUS", OPUS_LIBRARIES.get(str(opus.backend()), NO_OPUS)
    yield "G722", "decoded by libg722" if g722.available() else NO_G722
    yield "recordings", _recordings(config)


def _scheme(config: Config) -> str:
    tls = config.server.tls
    if tls.certificate is None or tls.key is None:
        return "http"
    server_context(config.base / tls.certificate, config.base / tls.key)
    return "https"


def _auth(config: Config, name: str, source: Source) -> str:
    auth = source.auth
    if auth.use == "none":
        return "auth none: everybody may connect (warning)"
    if auth.use == "twilio_signature":
        return f"auth {auth.use}: {_names(Keys(config, name)())} at {auth.public_url}{source.path}"
    if config.needs_token():
        return f"auth {auth.use}: a token will be made at the start, as RECEIVER_TOKEN is not set"
    return f"auth {auth.use}: {_names(source_tokens(config, name)())}"


def _scopes(config: Config) -> str:
    management_tokens(config)
    tokens = config.management.auth.tokens
    return "".join(f"  {token.name} may {', '.join(token.scopes)}" for token in tokens) or "  without tokens"


def _names(secrets: Sequence[TokenDigest | SigningKey]) -> str:
    return ", ".join(secret.name for secret in secrets)


def _recordings(config: Config) -> str:
    directory = config.base / config.recordings.directory
    parent = directory
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent  # it is made at the start, where it can be
    if not parent.is_dir():
        raise ConfigError("recordings.directory", f"{parent} is not a directory")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ConfigError("recordings.directory", f"{parent} cannot be written to")
    free = shutil.disk_usage(parent).free
    low = (
        "" if free >= config.limits.free_bytes else ", less than limits.free_bytes: streams would be refused (warning)"
    )
    return f"{directory}  {free / 1e9:.1f} GB free{low}"
