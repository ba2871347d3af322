from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from receiver.testing.footprint import Footprint, grown_since


def test_nothing_has_grown_where_nothing_happened() -> None:
    assert Footprint.now().grown(Footprint.now()) == []


def test_a_thread_a_descriptor_and_a_process_are_named(tmp_path: Path) -> None:
    before, over = Footprint.now(), threading.Event()
    thread = threading.Thread(target=over.wait, name="of this test")
    thread.start()
    (tmp_path / "file").touch()
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        grown = grown_since(before, 0)
        process.communicate(b"\n")
    os.close(descriptor)
    over.set()
    assert grown[:1] == ["the thread 'of this test'"] and grown[-1:] == [f"the process {process.pid}"]
    assert f"an open descriptor of {tmp_path / 'file'}" in grown
    assert grown_since(before, 20) == []


def test_what_goes_away_in_time_has_not_grown() -> None:
    before, over = Footprint.now(), threading.Event()
    threading.Thread(target=lambda: over.wait(0.1), name="of this test").start()
    assert grown_since(before, 20) == []
