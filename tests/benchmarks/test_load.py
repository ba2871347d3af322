"""The load generator and the servers in C, which other people's WebSocket code and our own recorder understand."""

from __future__ import annotations

import os
import signal
import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import servers
from load import Load, Phase, run
from recorded import check, frames_of, samples_of
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

Programs = Mapping[str, Path]

CALM = ("--nap-us", "1000")
"""A test needs no message at its exact moment, and leaves the core to others meanwhile."""

LOAD = Load(streams=4, tracks=2, seconds=0.4, warm=0.1, more=CALM)
FRAMES = 25


def test_every_message_is_sent_and_the_servers_time_is_read(programs: Programs, tmp_path: Path) -> None:
    phases = []
    with servers.floor(programs, tmp_path) as server:
        report = run(programs["load"], server, LOAD, lambda phase: phases.append(phase["phase"]))
    assert report.messages == FRAMES * LOAD.streams * LOAD.tracks
    assert report.texts == report.messages + 3 * LOAD.streams  # connected, start, stop
    assert (report.cut, report.failed, report.refused, report.never_closed, report.error) == (0, 0, 0, 0, "")
    assert 0 < report.server_cpu_s < 10
    assert phases == ["idle", "connected", "pacing", "paced", "closed", "report"]


def test_the_job_in_c_writes_what_was_sent(programs: Programs, tmp_path: Path) -> None:
    with servers.job(programs, tmp_path) as server:
        run(programs["load"], server, LOAD)
    for stream in range(LOAD.streams):
        for place, track in enumerate(("inbound", "outbound")):
            path = tmp_path / f"bench-stream-{stream}-{track}.wav"
            numbers, units = frames_of(samples_of(path))
            assert (numbers == np.arange(FRAMES)).all()
            assert (units == stream * 2 + place).all()
            with wave.open(str(path)) as file:
                assert file.getnframes() == FRAMES * 160


def test_the_receivers_own_recordings_prove_that_nothing_is_missing(programs: Programs, tmp_path: Path) -> None:
    with servers.receiver(tmp_path) as server:
        report = run(programs["load"], server, LOAD)
        found = check(tmp_path / "recordings", report)
        assert found.problem is None
        assert found.placed == FRAMES * LOAD.streams * LOAD.tracks
        assert server.metric('receiver_messages_total{kind="media"') == found.placed

        path = next((tmp_path / "recordings").glob("*/*/outbound.wav"))
        with path.open("r+b") as file:
            file.seek(44 + 3 * 320)
            file.write(bytes(320))
        assert "is not the audio that was sent" in str(check(tmp_path / "recordings", report).problem)


def test_a_wrong_token_is_refused_and_counted(programs: Programs, tmp_path: Path) -> None:
    with servers.job(programs, tmp_path) as server:
        server.token = "another"
        report = run(programs["load"], server, LOAD)
    assert report.refused == LOAD.streams
    assert report.problem == "only 0 of 4 streams connected (handshake: status 401)"


def test_a_server_that_goes_away_is_no_run_that_counts(programs: Programs, tmp_path: Path) -> None:
    with servers.floor(programs, tmp_path) as server:

        def kill(phase: Phase) -> None:
            if phase["phase"] == "pacing":
                os.kill(server.pids[0], signal.SIGKILL)

        report = run(programs["load"], server, LOAD, kill)
    assert report.cut == LOAD.streams
    assert "were cut" in str(report.problem)


def test_the_servers_in_c_speak_with_another_ones_client(programs: Programs, tmp_path: Path) -> None:
    with servers.job(programs, tmp_path) as server:
        url = f"ws://127.0.0.1:{server.port}/stream"
        with pytest.raises(InvalidStatus, match="401"):
            connect(url)
        with connect(url, additional_headers={"Authorization": f"Bearer {server.token}"}) as peer:
            peer.send('{"event": "start", "start": {"streamSid": "../odd"}}')
            peer.send('{"event":"media","media":{"track":"inbound","payload":"/////w==","other":[1,{"a":"\\""}]}}')
            peer.send('{"event":"stop"}')
    assert samples_of(tmp_path / "___odd-inbound.wav").tolist() == [0, 0, 0, 0]
