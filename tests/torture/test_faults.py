"""Calls that fail and disks that are full, in short: each fault once, or a few of them. The rest is for hours."""

from __future__ import annotations

from pathlib import Path

import faults
import numpy as np
import pytest
from faults import PLAN, Fault, Trial, plan


def quiet(text: str) -> None:
    """Tests show no progress."""


def test_every_call_is_in_the_plan_however_short_it_is() -> None:
    whole = plan()
    assert len(whole) == sum(last for _, last in PLAN.values()) == len(set(whole))
    short = plan(len(PLAN), seed=3)
    assert {fault.call for fault in short} == set(PLAN)
    assert plan(20, seed=3) == plan(20, seed=3) and len(plan(20, seed=3)) == 20
    assert plan(10_000) == whole
    assert str(Fault("write", "EIO", 7)) == "write EIO n=7"


@pytest.mark.system
@pytest.mark.timeout(240)
def test_one_call_that_fails_ends_no_call_and_hides_no_loss(tmp_path: Path) -> None:
    chosen = [Fault("write", "ENOSPC", 60), Fault("openat", "EMFILE", 2)]
    outcome = faults.run(tmp_path, chosen, say=quiet)
    assert outcome.problems == []
    assert outcome.trials == outcome.values["trials"] == 2  # the call did fail


@pytest.mark.system
@pytest.mark.timeout(120)
def test_a_disk_that_is_full_for_a_while_costs_that_while(tmp_path: Path) -> None:
    outcome = faults.full_disk(tmp_path, rounds=1, say=quiet)
    assert outcome.problems == []
    assert outcome.values["declared_s"]["max"] > 1
    assert outcome.values["new_segments"] >= 2


@pytest.mark.system
@pytest.mark.timeout(120)
def test_a_while_without_descriptors_costs_nothing(tmp_path: Path) -> None:
    outcome = faults.no_descriptors(tmp_path, rounds=1, say=quiet)
    assert outcome.problems == []
    assert outcome.values["declared_s"]["max"] == 0


def test_what_nobody_declared_is_noticed(tmp_path: Path) -> None:
    """The judge itself: a file that ends early, one that goes on later, and what is said of the time between."""
    voice = faults.cast(1, 1.0)[0][0]
    length = len(voice.samples)

    def write(name: str, samples: np.ndarray) -> None:  # type: ignore[type-arg]
        from folder import HEADER

        data = samples.astype("<i2").tobytes()
        head = HEADER.pack(b"RIFF", len(data) + 36, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", len(data))
        (tmp_path / name).write_bytes(head + data)

    def judged(*declared: tuple[int, int]) -> list[str]:
        trial = Trial("judged")
        notes = [{"kind": "not_recorded", "track": "inbound", "start": start, "end": end} for start, end in declared]
        faults._judge_track(trial, tmp_path, {"annotations": notes}, voice, length)
        return trial.problems

    write("inbound.wav", voice.samples[:3000])
    write("inbound@4000.wav", voice.samples[4000:])
    assert judged((3000, 4000)) == []
    assert "1000 samples are missing, and nothing says so" in judged()[0]
    assert "declared as missing" in judged((2990, 4000))[0]
    write("inbound@4000.wav", voice.samples[4001:])
    assert "nobody said there" in judged((3000, 4000))[0]


def test_a_readiness_that_is_late_or_never_is_noticed() -> None:
    def judged(*degraded: tuple[float, str]) -> list[str]:
        trial = Trial("judged")
        faults._judge_degraded(trial, 100.0, degraded)
        return trial.problems

    assert judged((100.5, "disk")) == []
    assert judged((99.0, "disk"), (102.0, "disk")) == ["not said to be degraded in time"]
    assert judged((100.5, "stopping")) == judged() == ["never said to be degraded"]
    trial = Trial("nothing failed")
    faults._judge_degraded(trial, None, [])
    assert trial.problems == []
