"""An audio file that is read or written from its beginning to its end."""

from __future__ import annotations

import soundfile


class AudioFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile is not typed in every version
    """A SoundFile that never seeks.

    soundfile seeks to where it is behind every read. A lossy decoder then begins anew, some packets before: that takes
    as long as decoding, is not the audio that a player hears, and libmpg123 complains about it on standard error.
    """

    def seekable(self) -> bool:
        """No: blocks are asked for one after the other."""
        return False
