"""Logs: one line per event, structured, in UTC, without secrets, for ours and for the libraries' alike.

Where standard error is not a terminal a line is a JSON object with ``timestamp``, ``level``, ``logger`` and ``event``,
and ``stream`` where it is about one. On a terminal it is text, and a traceback follows its line, indented.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import AbstractContextManager
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from receiver.redaction import MASK, clean, clean_traceback, is_secret, redact

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("auto", "json", "text")

_LIBRARIES = ("uvicorn", "websockets")
_CHATTER = frozenset(
    {
        "connection open",
        "connection closed",
        "connection rejected (%d %s)",
        "ASGI callable returned without completing handshake.",
        "Invalid HTTP request received.",
    }
)
_PEERS_FAULT = frozenset({"Invalid UTF-8 sequence received from client.", "opening handshake failed"})
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31;1"}

_ENRICH: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_BEFORE_STDLIB: list[Processor] = [
    structlog.stdlib.filter_by_level,
    *_ENRICH,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
]


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that goes through the standard library's of this name, whatever the host has made of structlog."""
    bound: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name), processors=_BEFORE_STDLIB, wrapper_class=structlog.stdlib.BoundLogger
    )
    return bound


def bound(**facts: Any) -> AbstractContextManager[None]:
    """Put ``facts``, e.g. ``stream=stream.id``, on every line of this context, the libraries' lines included."""
    return structlog.contextvars.bound_contextvars(**facts)


def configure(level: str = "info", format: str = "auto", stream: TextIO | None = None) -> None:
    """Send everything that is logged in this process to ``stream`` (standard error) in one format.

    Replaces the handlers of the root logger: for our own commands, not for a library in somebody's application.
    """
    stream = sys.stderr if stream is None else stream
    as_json = format == "json" or (format == "auto" and not stream.isatty())
    handler = _Handler(stream)
    handler.setFormatter(_formatter(as_json, colours=stream.isatty()))
    handler.addFilter(_wanted)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    chosen = getattr(logging, level.upper())
    root.setLevel(chosen)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "websockets"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(max(chosen, logging.INFO))  # their debug lines print headers and payloads
    structlog.configure(
        processors=_BEFORE_STDLIB,
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def _wanted(record: logging.LogRecord) -> bool:
    """Filter what the libraries say: nothing below info, no line per request, no path (it may hold a token)."""
    if record.name.partition(".")[0] not in _LIBRARIES:
        return True
    if record.levelno < logging.INFO or record.name == "uvicorn.access":
        return False
    template = str(record.msg)
    if template in _PEERS_FAULT:  # a traceback for every stranger's bad byte would be a flood
        record.exc_info = None
    return template not in _CHATTER and not template.startswith('%s - "WebSocket ')


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing where nothing can be said: the standard way prints the arguments, secrets and all."""


class _Formatter(structlog.stdlib.ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        try:
            return super().format(record)
        except Exception as error:  # wrong arguments for a template, for one: the event is told without them
            broken = logging.makeLogRecord(
                {"name": record.name, "levelno": record.levelno, "levelname": record.levelname}
            )
            broken.msg = f"a log line of {record.module} could not be made: {type(error).__name__}"
            return super().format(broken)


def _formatter(as_json: bool, *, colours: bool) -> logging.Formatter:
    return _Formatter(
        foreign_pre_chain=_ENRICH,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            _redacted,
            _json_line if as_json else _Text(colours),
        ],
    )


def _redacted(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    safe: dict[str, Any] = {}
    for key in ("timestamp", "level", "logger", "event"):
        safe[key] = clean(str(event.pop(key, "")).strip())
    tracebacks = {key: clean_traceback(str(event.pop(key))) for key in ("exception", "stack") if key in event}
    for key, value in event.items():
        safe[clean(str(key))] = MASK if is_secret(str(key)) else redact(value)
    return safe | tracebacks


def _json_line(_: WrappedLogger, __: str, event: EventDict) -> str:
    return json.dumps(event)


class _Text:
    """``12:00:00 info  stream ended  reason=stop``; a value that is not one plain word stands as JSON writes it."""

    def __init__(self, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> str:
        tracebacks = [event.pop(key) for key in ("exception", "stack") if key in event]
        time, level = event.pop("timestamp")[11:19], event.pop("level")
        event.pop("logger")
        shown = f"\x1b[{_COLOURS.get(level, '0')}m{level:<7}\x1b[0m" if self._colours else f"{level:<7}"
        text = json.dumps(event.pop("event"), ensure_ascii=False)[1:-1].replace('\\"', '"')
        facts = "".join(f"  {_plain(key)}={_plain(value)}" for key, value in event.items())
        lines = [f"{time} {shown} {_printable(text)}{facts}"]
        for traceback in tracebacks:
            lines += [f"    | {_printable(line)}" for line in traceback.splitlines()]
        return "\n".join(lines)


def _plain(value: Any) -> str:
    if isinstance(value, str) and value.isprintable() and not set(value) & set(" =\"'"):
        return value
    return _printable(json.dumps(value, ensure_ascii=False))


def _printable(text: str) -> str:
    """The text without characters that move a cursor, break a line or turn the direction."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
