"""What an operator decides: every key, its type, its default and its bounds. ``config.example.toml`` has the reasons.

Units are in the names. Nothing is coerced: a port in quotes is an error. Paths stay as they are written, and are
relative to ``Config.base``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, PrivateAttr, model_validator

from receiver.management import Management
from receiver.problems import check_name, check_network, check_recordings_path, check_scalar, problem_at
from receiver.routes import check_paths
from receiver.sources import Source, TokenAuth
from receiver.table import Count, FilePath, Port, Positive, Seconds, Table, Texts

DEFAULT_TOKEN = "RECEIVER_TOKEN"  # noqa: S105 - the name of a variable, not a token

Name = Annotated[str, AfterValidator(check_name)]
Network = Annotated[str, AfterValidator(check_network)]
Scalar = Annotated[str | int | bool, PlainValidator(check_scalar)]


class Tls(Table):
    """The certificate of the public listener, with the chain, and its key; without them it speaks plain HTTP."""

    certificate: FilePath | None = None
    key: FilePath | None = None

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            missing = "key" if self.key is None else "certificate"
            raise problem_at(missing, "is required: a certificate and its key go together")
        return self


class Server(Table):
    """The public listener: stream paths, /livez and /readyz, nothing else."""

    host: Annotated[str, Field(min_length=1)] = "0.0.0.0"  # noqa: S104 - a telephone platform has to reach it
    port: Port = 8080
    reuse_port: bool = False
    trusted_proxies: Annotated[tuple[Network, ...], Field(strict=False)] = ()
    latency_ms: Annotated[int, Field(ge=5, le=1000)] = 100
    ping_interval_s: Seconds = 5
    shutdown_delay_s: Seconds = 10
    drain_timeout_s: Seconds = 600
    tls: Tls = Tls()


class Limits(Table):
    """What one peer, and all of them together, may ask for."""

    headers: Annotated[int, Field(ge=8, le=128)] = 64
    header_bytes: Annotated[int, Field(ge=1024, le=65_536)] = 16_384
    open_timeout_s: Positive = 10
    handshakes: Count = 1000
    auth_failures_per_minute: Annotated[int, Field(ge=0)] = 30
    message_bytes: Annotated[int, Field(ge=1024)] = 65_536
    fragments: Count = 128
    pings_per_s: Positive = 10
    payload_bytes: Count = 32_768
    streams: Count = 1000
    tracks: Count = 8
    start_timeout_s: Positive = 10
    dead_after_s: Seconds = 15
    idle_timeout_s: Seconds = 3600
    close_timeout_s: Positive = 5
    burst_s: Seconds = 30
    bad_messages: Count = 50
    feeds_bytes: Count = 268_435_456
    writer_bytes: Count = 268_435_456
    free_bytes: Annotated[int, Field(ge=0)] = 268_435_456


class Recordings(Table):
    """Where streams' folders are made, and how long they stay."""

    directory: FilePath = Path("recordings")
    path: Annotated[str, AfterValidator(check_recordings_path)] = "{date}/{stream_id}"
    sync_ms: Annotated[int, Field(ge=0, le=60_000)] = 500
    keep_days: Annotated[float, Field(ge=0)] = 0
    keep_free_bytes: Annotated[int, Field(ge=0)] = 0


class Captures(Table):
    """Streams kept verbatim, as they arrived. Personal data: asked for, never given."""

    enabled: bool = False
    sources: Texts | None = None  # None: all
    when: dict[str, Scalar] = Field(default_factory=dict)


class Privacy(Table):
    """What of a call is not stored."""

    digits: Literal["mask", "keep"] = "mask"


class SinkConfig(Table):
    """A plugin, the streams it gets, and what happens when it cannot keep up."""

    use: Annotated[str, Field(min_length=1)]
    options: dict[str, Any] = Field(default_factory=dict)  # validated by the plugin
    sources: Texts | None = None  # None: all
    when: dict[str, Scalar] = Field(default_factory=dict)
    overflow: Literal["drop_newest", "drop_oldest", "spill"] = "drop_newest"
    on_error: Literal["stop", "restart"] = "stop"
    buffer_s: Positive = 30
    block_ms: Annotated[int, Field(ge=0, le=10_000)] = 0
    threads: Count = 64
    finish_timeout_s: Seconds = 60

    @property
    def reads_back(self) -> bool:
        """Whether it may have to read again what its stream has been."""
        return self.overflow == "spill" or self.on_error == "restart"

    def may_get(self, source: str | None) -> bool:
        """Whether streams of a source, or of any (None), may be for it."""
        return source is None or self.sources is None or source in self.sources


class Log(Table):
    """What is said, and in which form."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"


def default_sources(environ: Mapping[str, str]) -> dict[str, Any]:
    """The source there is without any in a file, as a table; ``RECEIVER_TOKEN_FILE`` may name its token's file."""
    file = environ.get(f"{DEFAULT_TOKEN}_FILE")
    place = {"file": os.path.abspath(file)} if file else {"env": DEFAULT_TOKEN}
    return {"default": {"auth": {"use": "bearer", "tokens": [{"name": "main", **place}]}}}


def default_sinks() -> dict[str, Any]:
    """The sink there is without any in a file, as a table."""
    return {"wav": {"use": "wav", "options": {"layout": "both"}}}


class Config(Table):
    """The whole configuration. ``Config()`` is what runs without any."""

    server: Server = Server()
    management: Management = Management()
    limits: Limits = Limits()
    sources: dict[Name, Source] = Field(
        default_factory=lambda: default_sources(os.environ), validate_default=True, min_length=1
    )
    recordings: Recordings = Recordings()
    captures: Captures = Captures()
    privacy: Privacy = Privacy()
    sinks: dict[Name, SinkConfig] = Field(default_factory=default_sinks, validate_default=True)
    log: Log = Log()

    _origin: Path | None = PrivateAttr(None)
    _base: Path = PrivateAttr(Path())
    _environ: Mapping[str, str] = PrivateAttr(os.environ)
    _default_sources: bool = PrivateAttr(True)

    def model_post_init(self, context: Any) -> None:
        """Keep where it came from: ``origin``, ``base``, ``environ`` and ``default_sources`` of the context."""
        context = context or {}
        self._origin = context.get("origin")
        self._base = context.get("base") or Path.cwd()
        self._environ = context.get("environ", os.environ)
        self._default_sources = context.get("default_sources", "sources" not in self.model_fields_set)

    @property
    def origin(self) -> Path | None:
        """The file it was read from, if there was one."""
        return self._origin

    @property
    def base(self) -> Path:
        """The folder that relative paths start from: the file's, else the working directory. Absolute."""
        return self._base

    @property
    def has_own_sources(self) -> bool:
        """Whether somebody has configured sources; else there is the one that is there by itself."""
        return not self._default_sources

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables that secrets may be in."""
        return self._environ

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if self.server.port and self.server.port == self.management.port:
            raise problem_at("management.port", "is the public listener's port, server.port, as well")
        if 0 < self.limits.dead_after_s <= self.server.ping_interval_s:
            raise problem_at("limits.dead_after_s", "must be longer than server.ping_interval_s, which it waits for")
        if 0 < self.recordings.keep_free_bytes <= self.limits.free_bytes:
            raise problem_at(
                "recordings.keep_free_bytes", "must be more than limits.free_bytes, below which no new streams come"
            )
        check_paths({name: source.path for name, source in self.sources.items()})
        chosen = {f"sinks.{name}.sources": sink.sources for name, sink in self.sinks.items()}
        for key, sources in {**chosen, "captures.sources": self.captures.sources}.items():
            if unknown := sorted(set(sources or ()) - set(self.sources)):
                raise problem_at(key, f"names no source: {', '.join(unknown)}")
        return self

    def needs_token(self) -> bool:
        """Whether the source that is there by itself has no token: nothing in the environment, nothing in a file."""
        auths = [source.auth for source in self.sources.values()]
        tokens = [token for auth in auths if isinstance(auth, TokenAuth) for token in auth.tokens]
        waits = any(token.env == DEFAULT_TOKEN for token in tokens)
        return self._default_sources and waits and not self._environ.get(DEFAULT_TOKEN)
