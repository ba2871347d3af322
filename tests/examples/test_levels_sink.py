"""The example that draws a picture, on a real call."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from receiver.events import Samples
from receiver.testing import RunReceiver, SinkConformance

EXAMPLE = Path(__file__).parents[2] / "examples" / "levels_sink.py"
SVG = "{http://www.w3.org/2000/svg}"


class TestConformance(SinkConformance):
    use = EXAMPLE
    restarts = True


def test_the_picture_has_a_bar_for_every_half_second_of_each_side(
    run_receiver: RunReceiver, call: tuple[Samples, Samples]
) -> None:
    inbound, outbound = call
    with run_receiver(sinks=[EXAMPLE]) as server:
        recorded = server.play((inbound, 8000), outbound=(outbound, 8000))
    (told,) = recorded.told["files"]
    assert (told["path"], told["kind"], told["media_type"]) == ("levels.svg", "picture", "image/svg+xml")
    picture = ElementTree.parse(recorded.file("levels.svg")).getroot()
    assert [text.text for text in picture.iter(f"{SVG}text")] == ["inbound", "outbound"]
    bars = [[int(bar) for bar in re.findall(r"v-(\d+)", path.attrib["d"])] for path in picture.iter(f"{SVG}path")]
    assert [[bar > 30 for bar in side] for side in bars] == [
        [False, True, True, False, False, False, True, True],
        [False, False, False, False, True, True, False, False],
    ]
    assert bars[0][0] == 1
