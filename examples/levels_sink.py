"""How loud each side of a call is, second by second: receiver serve --sink examples/levels_sink.py"""

import numpy as np

from receiver.sinks import Stream, blocks


async def sink(stream: Stream, events):
    async for block in blocks(events, dtype="float32", ms=1000):
        level = np.sqrt(np.mean(block.samples**2))
        print(f"{stream.id} {block.track:>8} {block.start / block.rate:6.1f} s  {'#' * int(level * 200)}", flush=True)
