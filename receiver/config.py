"""What an operator decides: every key, its type, its default and its bounds. ``config.example.toml`` has the reasons.

Units are in the names. Nothing is coerced: a port in quotes is an error. Paths stay as they are written, and are
relative to ``Config.base``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    field_validator,
    model_validator,
)

from receiver.problems import check_loopback, check_name, check_recordings_path, check_scalar, problem_at
from receiver.routes import check_path, check_paths, check_public_url, check_token_part

DEFAULT_TOKEN = "RECEIVER_TOKEN"  # noqa: S105 - the name of a variable, not a token

Port = Annotated[int, Field(ge=0, le=65535)]  # 0: any free one
Seconds = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, AfterValidator(check_name)]
FilePath = Annotated[Path, Field(strict=False)]  # text in a file
Texts = Annotated[tuple[str, ...], Field(strict=False)]  # lists in a file
Scalar = Annotated[str | int | bool, PlainValidator(check_scalar)]


class Table(BaseModel):
    """A table of the file: frozen, without unknown keys, without coercion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, table: object) -> object:
        for key in table if isinstance(table, dict) else ():
            if key not in cls.model_fields:
                raise problem_at(key, f"is not a key here; the keys are {', '.join(sorted(cls.model_fields))}")
        return table


class Server(Table):
    """The public listener: stream paths, /livez and /readyz, nothing else."""

    host: Annotated[str, Field(min_length=1)] = "0.0.0.0"  # noqa: S104 - a telephone platform has to reach it
    port: Port = 8080
    latency_ms: Annotated[int, Field(ge=5, le=1000)] = 60
    shutdown_delay_s: Seconds = 10
    drain_timeout_s: Seconds = 600


class Management(Table):
    """The private listener: metrics and health."""

    host: Annotated[str, AfterValidator(check_loopback)] = "127.0.0.1"
    port: Port = 8081
    allowed_hosts: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = ("localhost", "127.0.0.1")


class Limits(Table):
    """What one peer, and all of them together, may ask for."""

    message_bytes: Annotated[int, Field(ge=1024)] = 65_536
    payload_bytes: Count = 32_768
    streams: Count = 1000
    tracks: Count = 8
    start_timeout_s: Positive = 10
    idle_timeout_s: Seconds = 3600
    close_timeout_s: Positive = 5
    burst_s: Seconds = 30
    bad_messages: Count = 50
    feeds_bytes: Count = 268_435_456
    writer_bytes: Count = 67_108_864
    free_bytes: Annotated[int, Field(ge=0)] = 268_435_456


class SecretPlace(Table):
    """Where a secret is kept."""

    env: Annotated[str, Field(min_length=1)] | None = None
    file: FilePath | None = None

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError('needs either env = "NAME" or file = "path"')
        return self


class Token(SecretPlace):
    """Where one token is kept; its name is what logs and ``stream.json`` call it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class TokenAuth(Table):
    """One of several tokens."""

    tokens: Annotated[tuple[Token, ...], Field(strict=False, min_length=1)]

    @field_validator("tokens")
    @classmethod
    def _check_names(cls, tokens: tuple[Token, ...]) -> tuple[Token, ...]:
        if len({token.name for token in tokens}) < len(tokens):
            raise ValueError("two tokens have the same name")
        return tokens


class BearerAuth(TokenAuth):
    """``Authorization: Bearer`` with one of the tokens."""

    use: Literal["bearer"]


class PathTokenAuth(TokenAuth):
    """One of the tokens in the place of ``{token}`` in the source's path."""

    use: Literal["path_token"]


class TwilioSignatureAuth(Table):
    """``X-Twilio-Signature`` with the account's auth token."""

    use: Literal["twilio_signature"]
    key: SecretPlace
    secondary_key: SecretPlace | None = None
    public_url: Annotated[str, AfterValidator(check_public_url)]


class NoAuth(Table):
    """Everybody may connect."""

    use: Literal["none"]


class Source(Table):
    """A path, how peers there speak, and who may come in."""

    path: Annotated[str, AfterValidator(check_path)] = "/stream"
    dialect: Literal["auto", "signalwire", "twilio"] = "auto"
    auth: BearerAuth | PathTokenAuth | TwilioSignatureAuth | NoAuth = Field(discriminator="use")
    l16_byte_order: Literal["little", "big"] | None = None  # None: the dialect's own
    encodings: dict[str, Literal["PCMU", "PCMA", "L16", "OPUS", "G722"]] = {}
    counters: Literal["track", "ignore"] = "track"
    track_zero: Literal["shared", "own"] = "shared"

    @model_validator(mode="after")
    def _check_token_part(self) -> Self:
        check_token_part(self.path, use=self.auth.use)
        return self


class Recordings(Table):
    """Where streams' folders are made."""

    directory: FilePath = Path("recordings")
    path: Annotated[str, AfterValidator(check_recordings_path)] = "{date}/{stream_id}"


class Captures(Table):
    """Streams kept verbatim, as they arrived. Personal data: asked for, never given."""

    enabled: bool = False
    sources: Texts | None = None  # None: all
    when: dict[str, Scalar] = {}


class Privacy(Table):
    """What of a call is not stored."""

    digits: Literal["mask", "keep"] = "mask"


class SinkConfig(Table):
    """A plugin, the streams it gets, and what happens when it cannot keep up."""

    use: Annotated[str, Field(min_length=1)]
    options: dict[str, Any] = {}  # validated by the plugin
    sources: Texts | None = None  # None: all
    when: dict[str, Scalar] = {}
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
