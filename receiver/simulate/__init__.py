"""The other side: audio files as a live call that a platform streams to a server.

    call = Call(inbound=Path("caller.wav"), outbound=Path("agent.wav"), encoding=Encoding.OPUS)
    outcome = await speak(call, url="ws://localhost:8080/stream", token=token)

``messages(call)`` is the same without a connection: what would be said, and when.
"""

from __future__ import annotations

from pathlib import Path

from receiver.simulate.call import Call, Key, duration_s, messages, parse_keys, sides
from receiver.simulate.connection import Outcome, Progress
from receiver.simulate.sending import speak
from receiver.simulate.side import CallError

SPEECH = Path(__file__).parent / "speech"
"""The bundled call: ``inbound.flac`` and ``outbound.flac``, 21 s each. See its README.md."""

__all__ = [
    "SPEECH",
    "Call",
    "CallError",
    "Key",
    "Outcome",
    "Progress",
    "duration_s",
    "messages",
    "parse_keys",
    "sides",
    "speak",
]
