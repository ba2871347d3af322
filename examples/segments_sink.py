"""Each time that somebody speaks, as a file of its own: receiver serve --sink examples/segments_sink.py

Speech is what is loud enough; half a second of quiet ends it. Each piece becomes ``<track>-<start>.wav`` in the
stream's folder, and an annotation ``speech``. A better detector goes into the place of ``is_speech``.
"""

import asyncio

import numpy as np
import soundfile

from receiver.sinks import Block, Stream, blocks

BLOCK_MS = 20
LOUD = 0.01  # of full scale, the root mean square of a block: -40 dB
PAUSE = 500 // BLOCK_MS  # blocks of quiet that end a piece
SHORTEST = 100 // BLOCK_MS  # blocks of speech: a click is none
LONGEST = 30_000 // BLOCK_MS  # then it is cut: nothing grows without bound


def is_speech(block: Block) -> bool:
    return float(np.sqrt(np.mean(block.samples**2))) > LOUD


class Piece:
    """What somebody on a track is saying."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.spoken = 0
        self.quiet = 0

    def put(self, block: Block) -> bool:
        """Take the next block; whether the piece is over with it."""
        speech = is_speech(block)
        if speech or self.blocks:
            self.blocks.append(block)
            self.spoken += speech
            self.quiet = 0 if speech else self.quiet + 1
        return self.quiet == PAUSE or len(self.blocks) == LONGEST


async def sink(stream: Stream, events):
    pieces: dict[str, Piece] = {}
    async for block in blocks(events, dtype="float32", ms=BLOCK_MS):
        if pieces.setdefault(block.track, Piece()).put(block):
            await save(stream, pieces.pop(block.track))
    for piece in pieces.values():
        await save(stream, piece)


async def save(stream: Stream, piece: Piece) -> None:
    spoken = piece.blocks[: len(piece.blocks) - piece.quiet]
    if piece.spoken < SHORTEST:
        return
    first, last = spoken[0], spoken[-1]
    path = stream.directory / f"{first.track}-{first.start / first.rate:08.2f}.wav"
    samples = np.concatenate([block.samples for block in spoken])
    await asyncio.to_thread(soundfile.write, path, samples, first.rate, "PCM_16")
    stream.add_file(path, kind="speech", media_type="audio/wav")
    stream.annotate(
        "speech", track=first.track, start=first.start, end=last.end, rate=first.rate, data={"file": path.name}
    )
