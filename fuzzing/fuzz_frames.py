"""Any bytes after the handshake, however they are cut: FrameReader says of them what the parser of websockets says.

python fuzzing/fuzz_frames.py -runs=1000000

An input is a recipe: six bytes say what the connection may do and where the stream is cut; then come pieces, each a
frame that may have anything wrong with it, or bytes as they are. So a short input can be a long stream, and one bit of
it a frame too long by one byte.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from target import fuzz, instrumented

with instrumented("receiver", "websockets"):
    from agreement import Bounds, agree
    from websockets.frames import apply_mask

MESSAGE_BYTES = (1024, 300, 65_536, None)
FRAGMENTS = (128, 3, 1, 20)
CONTROLS = (None, 0, 2, 10)
SIZES = (
    0,
    1,
    2,
    3,
    5,
    17,
    100,
    124,
    125,
    126,
    127,
    128,
    160,
    299,
    300,
    301,
    512,
    1023,
    1024,
    1025,
    65_535,
    65_536,
    65_537,
)
FILLINGS = (
    b"{}",
    "naïve".encode(),
    "€".encode(),
    "\U0001f600".encode(),
    b"\xff",
    b"\xed\xa0\x80",
    b"\x03\xe8ok",
    b"\x03\xed",
)
NO_MASK, SHORT, STUB, LONGER, LONGEST, HUGE = range(6)  # what may be odd about a frame, by its third byte


class Recipe:
    """Bytes, taken one after the other; behind the last one, zeros."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def __bool__(self) -> bool:
        return self._place < len(self._data)

    def take(self, count: int) -> bytes:
        self._place += count
        return self._data[self._place - count : self._place]

    def byte(self) -> int:
        return (self.take(1) or b"\0")[0]


def frame(recipe: Recipe) -> bytes:
    """A frame, with whatever first byte, of a size at some boundary or any, and now and then broken."""
    first, size, odd, filling = recipe.byte(), recipe.byte(), recipe.byte(), recipe.byte()
    length = SIZES[size % len(SIZES)] if size < 128 else size - 128
    if filling < 128:
        piece = FILLINGS[filling % len(FILLINGS)]
        start = filling // len(FILLINGS) % len(piece)  # it may begin, and end, in the middle of a character
        payload = (piece * (length // len(piece) + 2))[start : start + length]
    else:
        payload = recipe.take(length)
    # Most of the time nothing is odd: a stream is over with the first thing that is.
    odd = odd % 64
    claimed = len(payload) if odd != HUGE else 2**63 + len(payload)
    masked = 0 if odd == NO_MASK else 0x80
    if odd in (LONGEST, HUGE) or claimed > 65_535:
        header = struct.pack("!BBQ", first, masked | 127, claimed)
    elif odd == LONGER or claimed > 125:
        header = struct.pack("!BBH", first, masked | 126, claimed)
    else:
        header = struct.pack("!BB", first, masked | claimed)
    if masked:
        mask = bytes((first ^ 0x55, size, odd, filling))
        header, payload = header + mask, apply_mask(payload, mask)
    whole = header + payload
    return whole[: {SHORT: len(whole) // 2, STUB: 1 + filling % 13}.get(odd, len(whole))]


def stream_of(recipe: Recipe) -> bytes:
    """The bytes that a peer sends."""
    pieces = []
    sent = 0
    while recipe and sent < 300_000:
        kind = recipe.byte()
        # The usual first bytes are as likely as all others together.
        pieces.append(frame(recipe) if kind < 240 else recipe.take(kind - 239))
        sent += len(pieces[-1])
    return b"".join(pieces)


def cuts_of(style: int, seed: int, size: int) -> Iterator[int]:
    """Where the stream is cut into reads."""
    if style % 4 == 0:
        return
    dice = random.Random(seed)  # noqa: S311 - the same input has to be cut in the same way again
    most = (1, 2, 9, 140, 1500, 70_000)[style // 4 % 6]
    place = 0
    # Many reads of a large message are many copies of it: a few hundred show as much as a hundred thousand.
    for _ in range(400):
        place += dice.randint(1, most)
        if place >= size:
            return
        yield place


def test_one_input(data: bytes) -> None:
    """Read what the recipe makes in both ways."""
    recipe = Recipe(data)
    limit, fragments, controls, style = recipe.byte(), recipe.byte(), recipe.byte(), recipe.byte()
    seed = recipe.byte() << 8 | recipe.byte()
    bounds = Bounds(MESSAGE_BYTES[limit % 4], FRAGMENTS[fragments % 4], CONTROLS[controls % 4], controls // 4 % 3)
    stream = stream_of(recipe)
    agree(stream, cuts_of(style, seed, len(stream)), bounds)


USUAL = (0x81, 0x82, 0x01, 0x00, 0x80, 0x89, 0x8A, 0x88, 0x83, 0xC1, 0x09)
TEXT, SPLIT = (0x81, 5, 63, 0), 11  # a frame that is fine; a filling that begins within a character


def _recipe(*frames: tuple[int, int, int, int], bounds: tuple[int, int, int] = (0, 0, 0), style: int = 9) -> bytes:
    return bytes((*bounds, style, 1, 2)) + b"".join(bytes((0, *frame)) for frame in frames)


def _seeds() -> Iterator[bytes]:
    for first in USUAL:
        for style in (0, 1, 9, 13):
            yield _recipe(TEXT, TEXT, (first, 2, 63, 6), TEXT, style=style)
        for left in (1, 2, 3):
            yield _recipe(TEXT, (first, 12, STUB, left))
    for size in range(len(SIZES)):
        yield _recipe((0x81, size, 63, 1), TEXT, bounds=(2, 0, 0), style=21)
    for odd in range(6):
        yield _recipe(TEXT, (0x81, 9, odd, 0), TEXT, bounds=(1, 0, 0), style=13)
    yield _recipe((0x01, 1, 63, SPLIT), *[(0x00, 2, 63, 3)] * 3, (0x80, 1, 63, 3), style=5)
    yield _recipe((0x01, 3, 63, 0), *[(0x89, 2, 63, 3)] * 3, *[(0x00, 3, 63, 0)] * 4, bounds=(0, 1, 2), style=5)


SEEDS = tuple(_seeds())

if __name__ == "__main__":
    fuzz(test_one_input, "frames", SEEDS, max_len=512)
