"""An opened plugin: its context, entered on the sink's loop, until it is closed there."""

from __future__ import annotations

import asyncio

import structlog

from receiver.errors import ConfigError
from receiver.logs import logger
from receiver.sinks.announcements import Announcements
from receiver.sinks.failure import describe_failure, failure_text
from receiver.sinks.loading import Loaded
from receiver.sinks.sink import Plugin

CLOSE_S = 5.0
"""How long a plugin may take to close, and its reader of records to finish. Then it is cancelled."""

log = logger("receiver.sinks")


class Opened:
    """One plugin for the process. Entered and left by one task, as cancel scopes inside of it require."""

    def __init__(self, name: str, loaded: Loaded) -> None:
        self.name = name
        self.plugin = Plugin()
        self.announcements: Announcements | None = None
        self._loaded = loaded
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Enter the plugin's context.

        Raises ConfigError that names the sink, whatever went wrong.
        """
        ready: asyncio.Future[Plugin] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live(ready), name=f"plugin {self.name}")
        try:
            self.plugin = await ready
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        if self.plugin.records is not None:
            self.announcements = Announcements(self.name, self.plugin.records)
            self._reading = asyncio.create_task(self.announcements.run(), name=f"records of {self.name}")

    async def close(self) -> None:
        """Leave the context, within CLOSE_S or by force. Never raises for what the plugin does."""
        deadline = asyncio.get_running_loop().time() + CLOSE_S
        if self.announcements is not None:
            self.announcements.stop()
        self._closing.set()
        for task, what in ((self._reading, "records"), (self._task, "plugin")):
            if task is not None:
                await asyncio.wait([task], timeout=max(deadline - asyncio.get_running_loop().time(), 0))
                if not task.done():
                    log.error("sink_did_not_close", sink=self.name, what=what)
                    task.cancel()

    async def _live(self, ready: asyncio.Future[Plugin]) -> None:
        structlog.contextvars.bind_contextvars(sink=self.name)
        try:
            async with self._loaded.open() as value:
                plugin = value if isinstance(value, Plugin) else Plugin(sink=value)
                if plugin.sink is not None and not callable(plugin.sink):
                    raise TypeError(f"the plugin yielded {type(value).__name__}, which is neither a sink nor a Plugin")
                if plugin.metrics is not None and not callable(getattr(plugin.metrics, "collect", None)):
                    raise TypeError(f"metrics is a {type(plugin.metrics).__name__}, which has no collect()")
                ready.set_result(plugin)
                await self._closing.wait()
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            if ready.done():
                log.error("sink_close_failed", sink=self.name, **describe_failure(error))
            else:
                ready.set_exception(_named(self.name, error))
        finally:
            if not ready.done():
                ready.set_exception(ConfigError(f"sinks.{self.name}", "was cancelled while it was opened"))


def _named(name: str, error: BaseException) -> ConfigError:
    key = f"sinks.{name}"
    if isinstance(error, ConfigError):
        inner = error.key if error.key.startswith(key) else ".".join(filter(None, (key, error.key)))
        named = ConfigError(inner, error.problem)
    else:
        named = ConfigError(key, f"could not be opened: {failure_text(error)}")
    named.__cause__ = error
    return named
