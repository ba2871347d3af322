"""Whose mistake it was, and what to answer.

ReceiverError
├── ConfigError        the operator's mistake       stops the start, names the key
├── AccessDenied       may not connect              an HTTP status, before the upgrade
└── ProtocolError      the peer broke its dialect   a WebSocket close code
    └── LimitExceeded  the peer asked for too much  1008, 1009 or 4429
"""

from __future__ import annotations

from collections.abc import Mapping


class ReceiverError(Exception):
    """The base of every error of this package."""


class ConfigError(ReceiverError):
    """The configuration cannot be used. ``key`` is dotted, e.g. ``sinks.wav.options.layout``."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(key, problem)
        self.key = key
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}" if self.key else self.problem


class AccessDenied(ReceiverError):
    """The peer may not connect. Answered with ``status`` before the upgrade, never with a 101 and a close.

    ``reason`` is for our log and metrics (one word, no secret); the peer is told the status alone.
    """

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})

    def __str__(self) -> str:
        return f"{self.status} {self.reason}"


class ProtocolError(ReceiverError):
    """The peer broke its dialect; the connection is closed with ``code`` and ``reason``.

    1003 binary where text was due · 1007 not what a message must look like · 1008 out of order · 4400 a start that
    cannot be used · 4403 call not allowed · 4408 no start in time · 4415 codec not supported · 4429 too fast.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code} {self.reason}"


class LimitExceeded(ProtocolError):
    """The peer asked for more than a limit allows."""
