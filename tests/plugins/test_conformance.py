"""The plugins in the box pass the suite that everybody's do, by the names under which they are installed."""

from __future__ import annotations

from typing import Any

from receiver.testing import Recorded, SinkConformance


class TestWav(SinkConformance):
    use = "wav"
    wrong_options = {"layout": "round", "encoding": "mp4"}
    restarts = True


class TestWavStereo(SinkConformance):
    use = "wav"
    options = {"layout": "stereo"}
    seconds = 1.0


class TestWavAsFlac(SinkConformance):
    use = "wav"
    options = {"encoding": "flac"}
    seconds = 1.0
    restarts = True


class TestWavAsOpus(SinkConformance):
    use = "wav"
    options = {"encoding": "opus"}
    seconds = 1.0

    def outcome(self, recorded: Recorded) -> Any:
        """An Ogg file has a number of its own, made up each time: the audio is compared."""
        files, said = super().outcome(recorded)
        return (
            [file[:3] for file in files],
            said,
            {name: recorded.audio(name)[0].tolist() for name in recorded.told["tracks"]},
        )
