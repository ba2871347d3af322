"""What an operator may choose about speech and about what becomes of it, whatever the engine is."""

from __future__ import annotations

from typing import Annotated

import msgspec
from pydantic import Field

Mode = Annotated[int, Field(ge=0, le=3)]
Silence = Annotated[float, Field(ge=0.1, le=10)]
Padding = Annotated[float, Field(ge=0, le=2)]
Longest = Annotated[float, Field(ge=5, le=600)]
Pending = Annotated[float, Field(ge=1, le=86_400)]
Pause = Annotated[float, Field(ge=0, le=60)]
Attempts = Annotated[int, Field(ge=1, le=100)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """``docs/transcription.md`` has the reasons. The bounds above are those of the plugin's options."""

    vad_mode: int = 2  # 0 to 3: the higher, the less is taken to be speech
    silence_s: float = 0.6  # so long a silence ends an utterance
    padding_s: float = 0.3  # silence that belongs to an utterance, before and behind
    max_speech_s: float = 30  # longer utterances are cut
    pending_s: float = 60  # speech of a track that may wait in memory
    pending_total_s: float = 3600  # and of all tracks together
    partials: bool = True  # say what is not final
    partial_s: float = 0.5  # that often at most, per track
    attempts: int = 3  # on the same speech, until it is given up
