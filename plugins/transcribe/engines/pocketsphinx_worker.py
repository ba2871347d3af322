"""The worker process of the engine ``pocketsphinx``."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import msgspec
from pocketsphinx import Decoder as Sphinx

from ..engine import RATE, Heard, Word
from .pocketsphinx_model import Model
from .worker import CannotLoad, work

FRAME = RATE // 100
"""Samples of one of its frames: it has 100 in a second (its option ``frate``)."""

FILLER = re.compile(r"<.*>|\[.*\]|\+\+.*\+\+")
"""What stands among the words and is none: silence, breath, noise."""

VARIANT = re.compile(r"\(\d+\)$")
"""The number of a pronunciation, behind its word."""


class PocketsphinxDecoder:
    """Decodes while the audio comes."""

    def __init__(self, model: Model) -> None:
        try:
            self._sphinx = Sphinx(
                hmm=model.acoustic, dict=model.dictionary, lm=model.language, samprate=RATE, loglevel="ERROR"
            )
        except (RuntimeError, ValueError) as error:
            raise CannotLoad(
                "model", f"pocketsphinx cannot load {model.acoustic} and what is beside it: {error}"
            ) from error
        self._open = False
        self._told = ""

    def feed(self, samples: bytes) -> Sequence[Heard]:
        """The partial, if its words are others than before."""
        if not self._open:
            self._sphinx.reinit_feat()  # nothing of the speaker before: the same audio is heard the same way
            self._sphinx.start_utt()
            self._open = True
            self._told = ""
        self._sphinx.process_raw(samples, False, False)
        hypothesis = self._sphinx.hyp()
        text = hypothesis.hypstr if hypothesis is not None else ""
        if text == self._told:
            return ()
        self._told = text
        words = self._words()
        return [Heard(text, False, words[0].start, words[-1].end)] if words else ()

    def finish(self) -> Sequence[Heard]:
        """One final, or none where there was no word."""
        if not self._open:
            return ()
        self.drop()
        words = self._words()
        if not words:
            return ()
        text = " ".join(word.text for word in words)
        return [Heard(text, True, words[0].start, words[-1].end, words)]

    def drop(self) -> None:
        """End the utterance."""
        if self._open:
            self._sphinx.end_utt()
            self._open = False

    def _words(self) -> tuple[Word, ...]:
        return tuple(
            Word(
                VARIANT.sub("", part.word), part.start_frame * FRAME, (part.end_frame + 1) * FRAME, min(part.prob, 1.0)
            )
            for part in self._sphinx.seg() or ()
            if not FILLER.fullmatch(part.word)
        )


if __name__ == "__main__":
    work(lambda: PocketsphinxDecoder(msgspec.json.decode(sys.argv[1], type=Model)))
