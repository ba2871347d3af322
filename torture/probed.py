"""``receiver serve`` that also says what only the process itself knows, twice a second, in the file PROBE.

    PROBE=probe.json python torture/probed.py serve -c config.toml

With SLOW=1 whatever holds the sockets' loop for more than 50 ms is a warning in the log: that is asyncio's debug mode,
but not for the loops of sinks, which may be as slow as they like.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

SLOW_S = 0.05
EVERY_S = 0.5

worst = {"turn_s": 0.0, "turn_cpu_s": 0.0}
"""The longest turn of the sweep, and what the longest of them worked: on a busy machine the rest is waiting."""


def main() -> None:
    """Run the command line with a loop that is watched."""
    run = uvloop.run

    def watched(work: Coroutine[Any, Any, Any]) -> Any:
        def made() -> asyncio.AbstractEventLoop:
            loop = uvloop.new_event_loop()
            loop.slow_callback_duration = SLOW_S
            loop.set_debug("SLOW" in os.environ)
            threading.Thread(target=_tell, args=(loop, Path(os.environ["PROBE"])), daemon=True).start()
            return loop

        return run(work, loop_factory=made)

    uvloop.run = watched
    _measure_turns()
    from receiver.cli import main as receiver

    receiver()


def _measure_turns() -> None:
    from receiver.asgi.sweep import Sweep

    def measured(turn: Callable[[Sweep, asyncio.AbstractEventLoop], None]) -> Any:
        def measure(sweep: Sweep, loop: asyncio.AbstractEventLoop) -> None:
            at, cpu = time.perf_counter(), time.thread_time()
            turn(sweep, loop)
            worst["turn_s"] = max(worst["turn_s"], time.perf_counter() - at)
            worst["turn_cpu_s"] = max(worst["turn_cpu_s"], time.thread_time() - cpu)

        return measure

    for callback in ("_take_turn", "_read_on", "_go_on"):
        setattr(Sweep, callback, measured(getattr(Sweep, callback)))


def _tell(loop: asyncio.AbstractEventLoop, path: Path) -> None:
    """How many tasks the sockets' loop has, and how long its turns took, again and again."""
    new = path.with_suffix(".new")
    while True:
        time.sleep(EVERY_S)
        new.write_text(json.dumps({"tasks": len(asyncio.all_tasks(loop)), **worst}))
        new.rename(path)


if __name__ == "__main__":
    main()
