"""Every way to end, a few streams of each. How soon files are final is asserted by nobody here."""

from __future__ import annotations

import math
import os
from pathlib import Path

import ends
import pytest
from outcome import say


def test_whatever_the_end_all_that_had_arrived_is_there(tmp_path: Path) -> None:
    outcomes = ends.run(tmp_path, streams=3, rounds=1, seed=1, say=say, asked_s=math.inf, root=False, longest_s=1.5)
    assert [one.problems for one in outcomes] == [[]] * len(outcomes)
    assert {one.what for one in outcomes} == {*ends.PLAIN, "process killed", *(f"{what}, TLS" for what in ends.SECURED)}
    assert all(one.trials == 3 and one.values["messages"] for one in outcomes)


@pytest.mark.system
@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces are root's")
def test_a_peer_that_is_gone_without_a_word_leaves_all_that_had_arrived(tmp_path: Path) -> None:
    outcomes = ends.run(tmp_path, streams=3, rounds=1, seed=1, say=say, asked_s=math.inf, plain=False, longest_s=1.5)
    assert [one.problems for one in outcomes] == [[]] * len(outcomes)
    assert [one.what for one in outcomes] == [*ends.ROOT, "black hole"]
    assert [one.verdict for one in outcomes] == ["kept", "kept"]
