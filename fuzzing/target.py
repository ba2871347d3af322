"""A fuzz target: a function that takes any input. Atheris guides it by coverage; the tests call it as it is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

try:
    import atheris
except ModuleNotFoundError:
    atheris = None

CORPORA = Path(__file__).parent / "corpus"


def instrumented(*packages: str) -> AbstractContextManager[None]:
    """What is imported within is measured while it is fuzzed."""
    return nullcontext() if atheris is None else atheris.instrument_imports(include=list(packages))


def fuzz(test_one_input: Callable[[bytes], None], name: str, seeds: Iterable[bytes], *, max_len: int) -> None:
    """Run it on inputs of up to ``max_len`` bytes, from the seeds and what earlier runs have found.

    The command line has options of libFuzzer, which come before ours.
    """
    if atheris is None:
        sys.exit(f"fuzz_{name} needs atheris: pip install atheris")
    corpus = CORPORA / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number:03}").write_bytes(seed)
    options = [f"-max_len={max_len}", "-len_control=10", f"-artifact_prefix={CORPORA}/{name}-"]
    atheris.Setup([sys.argv[0], *options, *sys.argv[1:], str(corpus)], test_one_input)
    atheris.Fuzz()
