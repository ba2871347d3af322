"""The plugins in the box pass the suite that everybody's do, by the names under which they are installed."""

from __future__ import annotations

from receiver.testing import SinkConformance


class TestWav(SinkConformance):
    use = "wav"
    wrong_options = {"layout": "round"}  # noqa: RUF012


class TestWavStereo(SinkConformance):
    use = "wav"
    options = {"layout": "stereo"}  # noqa: RUF012
