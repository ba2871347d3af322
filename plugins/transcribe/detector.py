"""The detector: whether somebody speaks in 30 ms of audio. WebRTC's, as the wheel of pocketsphinx brings it."""

from __future__ import annotations

from collections.abc import Callable

from receiver.errors import ConfigError

from .cutter import FRAME, Detector
from .engine import RATE


def detectors(mode: int) -> Callable[[], Detector]:
    """What makes a detector for a track: each remembers how loud it was there. ``mode`` is 0 to 3, 3 the strictest.

    Raises ConfigError where pocketsphinx is not installed.
    """
    try:
        from pocketsphinx import Vad
    except ImportError:
        raise ConfigError(
            "engine",
            "every engine needs pocketsphinx, to find the speech: pip install 'media-stream-receiver[transcribe]'",
        ) from None

    def make() -> Detector:
        is_speech: Detector = Vad(mode, RATE, FRAME / RATE).is_speech
        return is_speech

    return make
