"""The worker process of the engine ``faster_whisper``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from time import monotonic

import msgspec
import numpy as np

from ..engine import RATE, Heard, Int16Array, Word
from .faster_whisper import WhisperSettings
from .worker import CannotLoad, work

FULL_SCALE = 32768

SHARE = 2
"""A partial has to wait for so many times what the last one took, in audio: so the finals have the other half."""

TEMPERATURES = [0.0, 0.4]
"""Where the first makes Whisper go round in circles, the second often does not. More of them would be more time."""


class WhisperDecoder:
    """Keeps the utterance, and decodes all of it."""

    def __init__(self, settings: WhisperSettings) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"  # these two are read when it is imported
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait take no processor from who receives
        from faster_whisper import WhisperModel

        self._settings = settings
        self._audio = np.zeros(0, np.int16)
        self._partial_at = 0  # samples
        try:
            self._model = WhisperModel(
                settings.model,
                device=settings.device,
                compute_type=settings.compute_type,
                cpu_threads=settings.threads,
                local_files_only=True,
            )
            self._decode(np.zeros(RATE, np.int16), final=True)  # a language that it does not know shows only now
        except Exception as error:  # of three libraries, each of which has its own
            raise CannotLoad(_option(str(error)), f"faster-whisper cannot use it: {error}") from error
        self.drop()

    def feed(self, samples: bytes) -> Sequence[Heard]:
        """A partial, where one is due."""
        self._audio = np.concatenate([self._audio, np.frombuffer(samples, np.int16)])
        if not self._settings.partial_s or len(self._audio) < self._partial_at:
            return ()
        begun = monotonic()
        heard = self._decode(self._audio, final=False)
        pause_s = max(self._settings.partial_s, SHARE * (monotonic() - begun))
        self._partial_at = len(self._audio) + round(pause_s * RATE)
        text = " ".join(one.text for one in heard)
        return [Heard(text, False, 0, len(self._audio))] if text else ()

    def finish(self) -> Sequence[Heard]:
        """A final for each sentence or so, as Whisper cuts them."""
        heard = self._decode(self._audio, final=True) if len(self._audio) else []
        self.drop()
        return heard

    def drop(self) -> None:
        """Forget the audio."""
        self._audio = np.zeros(0, np.int16)
        self._partial_at = round(self._settings.partial_s * RATE)

    def _decode(self, audio: Int16Array, *, final: bool) -> list[Heard]:
        segments, _ = self._model.transcribe(
            audio.astype(np.float32) / FULL_SCALE,
            language=self._settings.language,
            beam_size=self._settings.beam_size if final else 1,
            temperature=TEMPERATURES if final else TEMPERATURES[:1],
            condition_on_previous_text=False,
            without_timestamps=not final,
            word_timestamps=final,
        )
        heard = []
        for segment in segments:
            words = tuple(
                Word(word.word.strip(), _position(word.start), _position(word.end), min(float(word.probability), 1.0))
                for word in segment.words or ()
            )
            if text := segment.text.strip():
                heard.append(Heard(text, final, _position(segment.start), _position(segment.end), words))
        return heard


def _position(seconds: float) -> int:
    return round(seconds * RATE)


def _option(problem: str) -> str:
    """Which option a library complains about."""
    if "compute type" in problem:
        return "compute_type"
    if "language code" in problem:
        return "language"
    return "device" if "CUDA" in problem or "device" in problem else "model"


if __name__ == "__main__":
    work(lambda: WhisperDecoder(msgspec.json.decode(sys.argv[1], type=WhisperSettings)))
