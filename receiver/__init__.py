"""Receives the audio of live phone calls over WebSocket.

The path of the audio, which is also the order of the folders::

    asgi      a socket opens
    auth      may this peer connect?
    dialects  what did it say?          data      -> messages
    media     where is it in time?      messages  -> frames and gaps
    sessions  one stream, start to end  messages  -> events
    sinks     everyone who listens      events    -> whatever plugins make of them
    simulate  the other side, to try all of it without a telephone

Between the edges, from ``dialects`` to ``sessions``, nothing waits, logs or reads a clock: ``Session`` is a library
without I/O. Nothing is imported until it is asked for, so that using it loads no server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from receiver.asgi.receive import authenticate, receive
    from receiver.asgi.receiver import Receiver
    from receiver.config import Config
    from receiver.config_file import load_config
    from receiver.sessions.session import Session
    from receiver.sessions.settings import SessionSettings

__all__ = ["Config", "Receiver", "Session", "SessionSettings", "authenticate", "load_config", "receive"]

_HOMES = {
    "Config": "receiver.config",
    "Receiver": "receiver.asgi.receiver",
    "Session": "receiver.sessions.session",
    "SessionSettings": "receiver.sessions.settings",
    "authenticate": "receiver.asgi.receive",
    "load_config": "receiver.config_file",
    "receive": "receiver.asgi.receive",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
