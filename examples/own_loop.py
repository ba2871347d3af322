"""The session alone, under a server of one's own: here the one of the websockets library.

    python examples/own_loop.py 8765

The session does no I/O and reads no clock. Whoever owns the socket hands it messages and the time, and takes events.
This server asks nobody for a token: that is its own affair, too.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

from receiver import Session
from receiver.events import Ended, EndReason, Event, Started

TICK_S = 0.25


async def take(connection: ServerConnection) -> None:
    session = Session(at=time.monotonic())
    reason = EndReason.CLOSE
    try:
        while session.reason is None:
            try:
                batch = [await asyncio.wait_for(connection.recv(), TICK_S)]
            except TimeoutError:
                batch = []  # nothing came: time passes all the same
            now = time.monotonic()
            show(session.receive(batch, now))
            show(session.tick(now))
    except ConnectionClosedOK:
        pass
    except ConnectionClosedError:
        reason = EndReason.RESET
    show(session.close(reason, time.monotonic()))
    if session.error is not None:
        await connection.close(session.error.code, session.error.reason)


def show(events: Iterable[Event]) -> None:
    for event in events:
        match event:
            case Started():
                print(f"started {event.format.encoding} {event.format.rate} Hz {' '.join(event.tracks)}", flush=True)
            case Ended():
                for name, track in event.tracks.items():
                    print(f"{name} {track.length / track.rate:.2f} s, {track.received} messages", flush=True)
                print(f"ended {event.reason}", flush=True)


async def main(port: int) -> None:
    async with serve(take, "127.0.0.1", port, compression=None) as server:
        print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if sys.argv[1:] else 8765))
