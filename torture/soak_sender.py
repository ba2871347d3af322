"""The calls of a soak: so many at a time, each as long as a die says, ended in every way; a line for each that is over.

    python torture/soak_sender.py '{"port": 8080, "token": "…", "streams": 200, "seconds": 60, …}'

A process of its own, so that what it does holds up nobody who measures. SIGTERM ends all calls that are live.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import random
import signal
import socket
import struct
import sys
from dataclasses import asdict, dataclass
from typing import Any

import uvloop

from talking import BAD, PONG, STOP, TRACKS, close, frame, greeting, upgrade
from voice import PERIOD_S, Voices

ENDS = ("stop", "close", "fin", "reset")
VARIANTS = 3
"""Different calls that are made ready; which one is sent, the line of a call tells."""

GROUPS = 4
"""A frame's 20 ms are shared by so many groups of calls, so that they do not all speak at once."""

BAD_EVERY_S = 1.5
"""How often a call that misbehaves does so: less often than a stream may before it is ended."""

MISBEHAVES = 0.25
MOST_BINARY = 5
ANSWER_S = 20.0
SIOCOUTQ = 0x5411


@dataclass(frozen=True)
class Orders:
    """What is to be done."""

    port: int
    token: str
    streams: int
    seconds: float
    shortest_s: float
    longest_s: float
    seed: int


@dataclass
class Said:
    """What was said in a call, to be held against what became of it."""

    call: str
    variant: int
    end: str
    started: bool = False  # whether its start message was sent
    frames: int = 0  # of each track
    repeated: int = 0  # of each track: media messages sent twice
    bad: int = 0
    late_s: float = 0.0  # by how much a frame was sent too late, at worst
    problem: str = ""


class Call(asyncio.Protocol):
    """One connection."""

    def __init__(self, orders: Orders, said: Said, frames: int, table: list[bytes], dice: random.Random) -> None:
        self.said = said
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._orders = orders
        self._frames = frames
        self._table = table
        self._dice = dice
        self._misbehaves = dice.random() < MISBEHAVES
        self._next_bad_s = dice.random() * BAD_EVERY_S
        self._binary = 0
        self._began: float | None = None
        self._heard = b""
        self._closing = False
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(upgrade("/stream", self._orders.token))

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if self._began is None:
            head, found, rest = self._heard.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                self._fail(head.split(b"\r\n")[0].decode(errors="replace"))
                return
            self._heard = rest
            self._transport.write(greeting(self.said.call))
            self._began = asyncio.get_running_loop().time()
            self.said.started = True
        self._answer()

    def _answer(self) -> None:
        """Pings get pongs; a close frame is an end."""
        while len(self._heard) >= 2 and len(self._heard) >= 2 + self._heard[1]:  # the server's are short
            opcode, size = self._heard[0] & 15, self._heard[1]
            body, self._heard = self._heard[2 : 2 + size], self._heard[2 + size :]
            if opcode == 9 and not self._closing:
                self._transport.write(frame(PONG, body))
            elif opcode == 8:
                if not self._closing:
                    self._fail(f"closed by the server with {int.from_bytes(body[:2], 'big')}")
                elif not self._transport.is_closing():
                    self._transport.close()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if not self._closing:
            self._fail(f"lost: {error}")
        if not self.over.done():
            self.over.set_result(None)

    def speak(self, now: float) -> None:
        """Send what is due; when all is said, end the call."""
        if self._began is None or self._closing or self.said.problem:
            return
        due = min(int((now - self._began) / PERIOD_S), self._frames)
        if due > self.said.frames:
            self.said.late_s = max(self.said.late_s, now - self._began - (self.said.frames + 1) * PERIOD_S)
            self._transport.writelines(self._table[self.said.frames : due])
            self.said.frames = due
            if self._misbehaves and now - self._began >= self._next_bad_s:
                self._misbehave(now)
        if due == self._frames:
            self.end()

    def _misbehave(self, now: float) -> None:
        self._next_bad_s = now - (self._began or 0.0) + BAD_EVERY_S
        kind = self._dice.choice([*BAD, "repeat"])
        if kind == "repeat":
            self._transport.write(self._table[self.said.frames - 1])
            self.said.repeated += 1
        elif kind != "binary" or self._binary < MOST_BINARY:
            self._binary += kind == "binary"
            self._transport.write(BAD[kind])
            self.said.bad += kind != "ping"

    def end(self) -> None:
        """End it, in its way."""
        if self._closing:
            return
        self._closing = True
        if self._began is None:
            self._transport.abort()
            return
        asyncio.get_running_loop().create_task(self._end())

    async def _end(self) -> None:
        transport = self._transport
        opened = transport.get_extra_info("socket")
        while not transport.is_closing() and (  # noqa: ASYNC110 - nobody tells
            transport.get_write_buffer_size() or (self.said.end == "reset" and _on_its_way(opened))
        ):
            await asyncio.sleep(0.01)
        if self.said.end == "stop":
            transport.write(STOP + close(1000))
        elif self.said.end == "close":
            transport.write(close(1000))
        elif self.said.end == "fin":
            transport.write_eof()
        else:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()

    def _fail(self, problem: str) -> None:
        self.said.problem = self.said.problem or problem
        if self._transport is not None:
            self._transport.abort()


def _on_its_way(opened: socket.socket) -> int:
    """Bytes that the other side's kernel has not: a reset takes them back."""
    return int.from_bytes(fcntl.ioctl(opened.fileno(), SIOCOUTQ, bytes(4)), sys.byteorder)


async def main(orders: Orders) -> None:
    """Keep as many calls live as are asked for, until time is over; then end those that are left."""
    loop = asyncio.get_running_loop()
    dice = random.Random(orders.seed)
    most = int(orders.longest_s / PERIOD_S)
    tables = []
    for variant in range(VARIANTS):
        material = Voices(variant, most)
        tables.append([b"".join(material.said(track, number) for track in TRACKS) for number in range(most)])
    print(json.dumps({"ready": True}), flush=True)
    groups: list[set[Call]] = [set() for _ in range(GROUPS)]
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    loop.call_later(orders.seconds, over.set)

    async def place(number: int) -> None:
        """One call after the other."""
        await asyncio.sleep(number / orders.streams * min(5.0, orders.seconds / 4))
        count = 0
        while not over.is_set():
            variant = dice.randrange(VARIANTS)
            said = Said(f"call-{orders.seed}-{number}-{count}", variant, dice.choice(ENDS))
            frames = int(dice.uniform(orders.shortest_s, orders.longest_s) / PERIOD_S)
            call = Call(orders, said, frames, tables[variant], dice)
            count += 1
            try:
                await loop.create_connection(lambda call=call: call, "127.0.0.1", orders.port)  # type: ignore[misc]  # bound
                groups[number % GROUPS].add(call)
                ended = asyncio.create_task(over.wait())
                await asyncio.wait({call.over, ended}, return_when=asyncio.FIRST_COMPLETED)
                ended.cancel()
                call.end()
                await asyncio.wait_for(asyncio.shield(call.over), ANSWER_S)
            except (OSError, TimeoutError) as error:
                said.problem = said.problem or f"{type(error).__name__}: {error}"
            groups[number % GROUPS].discard(call)
            print(json.dumps(asdict(said)), flush=True)

    places = [asyncio.create_task(place(number)) for number in range(orders.streams)]
    speaking = asyncio.create_task(_speak(groups))
    await asyncio.gather(*places)
    speaking.cancel()


async def _speak(groups: list[set[Call]]) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    turn = 0
    while True:
        now = loop.time()
        for call in list(groups[turn]):
            call.speak(now)
        turn = (turn + 1) % GROUPS
        due = max(due + PERIOD_S / GROUPS, loop.time() - PERIOD_S)
        await asyncio.sleep(max(0.0, due - loop.time()))


if __name__ == "__main__":
    uvloop.run(main(Orders(**json.loads(sys.argv[1]))))
