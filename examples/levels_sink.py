"""A picture of how loud each side of a call was: receiver serve --sink examples/levels_sink.py

The stream's folder gets ``levels.svg``, which every browser shows: a row for each track, a bar for each half second.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from receiver.sinks import Stream, blocks

BAR_MS = 500
FLOOR_DB = -60
BAR, ROW, GAP = 4, 60, 20  # pixels


async def sink(stream: Stream, events):
    levels: dict[str, list[float]] = {}
    async for block in blocks(
        events, dtype="float32", ms=BAR_MS
    ):  # gaps are zeros: the n-th bar is the n-th half second
        rms = float(np.sqrt(np.mean(block.samples**2)))
        db = 20 * math.log10(rms) if rms else FLOOR_DB
        levels.setdefault(block.track, []).append(max(0.0, 1 - db / FLOOR_DB))
    if levels:
        path = stream.directory / "levels.svg"
        await asyncio.to_thread(path.write_text, picture(levels))  # a disk may take its time, and the loop may not
        stream.add_file(path, kind="picture", media_type="image/svg+xml")


def picture(levels: Mapping[str, Sequence[float]]) -> str:
    width, height = BAR * max(map(len, levels.values())), (ROW + GAP) * len(levels)
    rows = []
    for row, track in enumerate(sorted(levels)):
        bottom = (row + 1) * (ROW + GAP)
        bars = "".join(
            f"M{BAR * at + BAR // 2} {bottom}v{-max(1, round(ROW * level))}" for at, level in enumerate(levels[track])
        )
        rows.append(f'<text x="2" y="{bottom - ROW - 5}">{escape(track)}</text><path d="{bars}"/>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{max(width, 100)}" height="{height}" '
        f'font-family="sans-serif" font-size="12" stroke-width="{BAR - 1}">'
        f"<style>path {{ stroke: steelblue }}</style>{''.join(rows)}</svg>\n"
    )
