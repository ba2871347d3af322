"""The fuzz targets, a few thousand runs of each: their seeds, and seeds that dice have changed."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

FUZZING = Path(__file__).parent.parent / "fuzzing"
TARGETS = sorted(file.stem for file in FUZZING.glob("fuzz_*.py"))
RUNS = 3000


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(FUZZING)
    before = set(sys.modules)
    yield importlib.import_module(request.param)
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == FUZZING:
            del sys.modules[name]


def changed(dice: random.Random, seed: bytes, other: bytes) -> bytes:
    """A seed and a part of another, some of their bytes being others."""
    data = bytearray(seed + other[dice.randrange(len(other)) :])
    for _ in range(dice.randint(0, 6)):
        data[dice.randrange(len(data))] = dice.randrange(256)
    return bytes(data)


def test_every_target_is_found() -> None:
    assert TARGETS == ["fuzz_dialects", "fuzz_frames"]


def test_a_short_run_of_a_target_finds_nothing(target: ModuleType) -> None:
    dice = random.Random(20_261_121)
    for seed in target.SEEDS:
        target.test_one_input(seed)
    for _ in range(RUNS):
        target.test_one_input(changed(dice, dice.choice(target.SEEDS), dice.choice(target.SEEDS)))
        target.test_one_input(dice.randbytes(dice.randint(0, 60)))
