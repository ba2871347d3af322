"""P11: from the start of the process to the first stream that it accepts."""

from __future__ import annotations

import base64
import os
import socket
import statistics
import tempfile
import time
from pathlib import Path

import servers
from bench_run import Bench
from row import Row, missing, verdict

ASKED_S = 1.0
ROUNDS = 5
START_S = 30.0


def first_accepted(server: servers.Server) -> float:
    """Seconds until a handshake with the token was answered with 101, asked for again and again."""
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET /stream HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nAuthorization: Bearer {server.token}\r\n\r\n"
    )
    while time.monotonic() - server.started_s < START_S:
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=5) as peer:
                peer.sendall(request.encode())
                if peer.recv(1024).startswith(b"HTTP/1.1 101"):
                    return time.monotonic() - server.started_s
        except OSError:
            pass
        time.sleep(0.005)
    return START_S


def figure(bench: Bench) -> list[Row]:
    """The median of several starts."""
    found = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="bench-") as place, servers.receiver(Path(place), wait=False) as server:
            found.append(first_accepted(server))
    middle = statistics.median(found)
    asked = f"≤ {ASKED_S:.1f}"
    if middle >= START_S:
        return [missing("P11", "s from start to first accepted stream", asked, "it accepted none")]
    got = f"{middle:.2f} (worst of {ROUNDS}: {max(found):.2f})"
    values = {"median_s": middle, "worst_s": max(found)}
    return [Row("P11", "s from start to first accepted stream", asked, got, verdict(middle <= ASKED_S), values)]
