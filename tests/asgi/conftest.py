"""A receiver on free ports of the loopback, as real as it gets."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster
from websockets.asyncio.client import ClientConnection, connect

from receiver.asgi.receiver import Receiver
from receiver.asgi.server import listening
from receiver.config import Config

TOKEN = "a-token-of-the-tests"


@dataclass(frozen=True)
class Running:
    """A running receiver and where to reach it."""

    receiver: Receiver
    url: str
    public: str
    management: str
    root: Path

    def dial(self, token: str = TOKEN, **options: Any) -> connect:
        """A platform's connection; ``async with`` it."""
        return connect(
            self.url,
            additional_headers={"Authorization": f"Bearer {token}"},
            compression=None,
            proxy=None,
            ping_interval=None,
            **options,
        )

    def folders(self) -> list[Path]:
        """The folders of streams, oldest first."""
        return sorted(path for path in self.root.glob("*/*") if path.is_dir())

    def told(self) -> dict[str, Any]:
        """The only ``stream.json``."""
        (folder,) = self.folders()
        told: dict[str, Any] = json.loads((folder / "stream.json").read_text())
        return told


RunReceiver = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def running(tmp_path: Path, nothing_blocks_a_loop: BlockBuster | None) -> RunReceiver:
    """``async with running(limits={…}) as server``: tables of the configuration, over those of a test.

    While it starts and stops it may block: plugins are imported then, and nobody is served yet.
    """

    def watch(on: bool) -> None:
        if nothing_blocks_a_loop is not None:
            nothing_blocks_a_loop.activate() if on else nothing_blocks_a_loop.deactivate()

    @asynccontextmanager
    async def run(**tables: dict[str, Any]) -> AsyncIterator[Running]:
        table: dict[str, Any] = {
            "server": {"host": "127.0.0.1", "port": 0, "shutdown_delay_s": 0},
            "management": {"port": 0},
            "recordings": {"directory": str(tmp_path / "recordings")},
        }
        for name, changes in tables.items():
            table[name] = {**table.get(name, {}), **changes}
        context = {"environ": {"RECEIVER_TOKEN": TOKEN}, "base": tmp_path}
        watch(False)
        receiver = Receiver(Config.model_validate(table, context=context))
        async with listening(receiver) as addresses:
            watch(True)
            public = f"127.0.0.1:{addresses.public[1]}"
            management = f"127.0.0.1:{addresses.management[1]}"
            yield Running(receiver, f"ws://{public}/stream", public, management, tmp_path / "recordings")

    return run


@pytest.fixture
def hello() -> Callable[..., Any]:
    """``await hello(connection, encoding=…)``: what a platform says before the audio."""

    async def say(
        connection: ClientConnection, *, encoding: str = "audio/x-mulaw", rate: int = 8000, **more: Any
    ) -> None:
        start = {
            "streamSid": "7d56cc11-536d-4a45-b4fb-ed3d55be843b",
            "accountSid": "b08dacad-2f6c-4de1-93d6-cc732e0c69c5",
            "callSid": "76ac3c36-56da-4a3e-a0d6-b5f8df6da9ad",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": encoding, "sampleRate": rate, "channels": 1},
            **more,
        }
        await connection.send(json.dumps({"event": "connected", "protocol": "Call", "version": "0.2.0"}))
        await connection.send(json.dumps({"event": "start", "sequenceNumber": "1", "start": start}))

    return say
