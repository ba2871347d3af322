"""For tests of sinks, and of whatever listens to calls: a real receiver on free ports, and calls to it.

With pytest the fixtures ``receiver_server`` and ``run_receiver`` are there by themselves, as the package brings a
plugin::

    def test_it_hears_somebody(run_receiver):
        with run_receiver(sinks=[my_sink]) as server:
            assert server.play("hello.wav").annotations

Without pytest, ``run_receiver`` is a context manager and ``running_receiver`` an asynchronous one. Nothing is imported
until it is asked for: the plugin is loaded by every run of pytest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from receiver.testing.conformance import SinkConformance
    from receiver.testing.material import PlayOptions
    from receiver.testing.recorded import GapSpan, Recorded
    from receiver.testing.running import NotRecorded, RunningReceiver, running_receiver
    from receiver.testing.threaded import RunReceiver, ThreadedReceiver, run_receiver

__all__ = [
    "GapSpan",
    "NotRecorded",
    "PlayOptions",
    "Recorded",
    "RunReceiver",
    "RunningReceiver",
    "SinkConformance",
    "ThreadedReceiver",
    "run_receiver",
    "running_receiver",
]

_HOMES = {
    "GapSpan": "receiver.testing.recorded",
    "NotRecorded": "receiver.testing.running",
    "PlayOptions": "receiver.testing.material",
    "Recorded": "receiver.testing.recorded",
    "RunReceiver": "receiver.testing.threaded",
    "RunningReceiver": "receiver.testing.running",
    "SinkConformance": "receiver.testing.conformance",
    "ThreadedReceiver": "receiver.testing.threaded",
    "run_receiver": "receiver.testing.threaded",
    "running_receiver": "receiver.testing.running",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
