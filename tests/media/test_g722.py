"""Samples that another program's decoder makes of the same bytes, whatever the packets and batches."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import ConfigError
from receiver.events import Samples
from receiver.media.g722 import RATE, G722Decoder, G722Encoder, available

NOISE = np.random.default_rng(722).bytes(2000)  # every byte is a codeword, and noise drives the adaption anywhere


def by_ffmpeg(payload: bytes) -> Samples:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "g722", "-i", "-", "-f", "s16le", "-"]
    done = subprocess.run(command, input=payload, capture_output=True, check=True, timeout=20)
    return np.frombuffer(done.stdout, "<i2")


EXPECTED = by_ffmpeg(NOISE)


def voice(seconds: float) -> Samples:
    at = np.arange(round(RATE * seconds)) / RATE
    buzz = sum(np.sin(2 * np.pi * 150 * nth * at) / nth for nth in range(1, 30))
    return np.asarray(4000 * buzz * (1 + 0.5 * np.sin(5 * at)), np.int16)


def test_a_decoder_that_is_not_ours_makes_the_same_samples_of_the_same_bytes() -> None:
    samples = G722Decoder().decode([NOISE])
    assert samples.dtype == np.int16
    assert np.array_equal(samples, EXPECTED)
    coded = G722Encoder().encode(voice(1))
    assert np.array_equal(G722Decoder().decode([coded]), by_ffmpeg(coded))


@given(cuts=st.lists(st.integers(0, len(NOISE)), max_size=20), together=st.integers(1, 5))
def test_the_state_goes_on_from_packet_to_packet_and_from_batch_to_batch(cuts: list[int], together: int) -> None:
    edges = [0, *sorted(set(cuts) - {0, len(NOISE)}), len(NOISE)]
    packets = [NOISE[start:end] for start, end in pairwise(edges)]
    decoder = G722Decoder()
    batches = [packets[at : at + together] for at in range(0, len(packets), together)]
    parts = [decoder.decode(batch) for batch in batches]
    for batch, part in zip(batches, parts, strict=True):
        assert len(part) == sum(decoder.samples_in(packet) or 0 for packet in batch)
    assert np.array_equal(np.concatenate(parts), EXPECTED)


def test_each_track_has_a_state_of_its_own() -> None:
    one, other = G722Decoder(), G722Decoder()
    one.decode([NOISE[:1000]])
    assert np.array_equal(other.decode([NOISE]), EXPECTED)
    assert np.array_equal(one.decode([NOISE[1000:]]), EXPECTED[2000:])


def test_a_byte_is_two_samples_and_nothing_is_no_packet() -> None:
    decoder = G722Decoder()
    assert (decoder.rate, decoder.unit_bytes) == (16_000, 0)
    assert [decoder.samples_in(bytes(count)) for count in (0, 1, 160)] == [None, 2, 320]
    assert decoder.damaged() == []
    assert decoder.decode([]).tolist() == []


def test_the_samples_are_read_only() -> None:
    samples = G722Decoder().decode([NOISE])
    with pytest.raises(ValueError, match="read-only"):
        samples[0] = 1


def test_after_a_lost_packet_it_finds_back_by_itself() -> None:
    said = voice(3)
    coded = G722Encoder().encode(said)
    whole = G722Decoder().decode([coded]).astype(int)
    decoder = G722Decoder()
    before = decoder.decode([coded[:8000]])
    decoder.conceal(320)
    after = decoder.decode([coded[8160:]]).astype(int)
    assert np.array_equal(before, whole[:16000])
    off = np.abs(after - whole[16320:])
    assert off[:320].max() > 0
    assert off[-RATE:].max() <= 16


def test_what_was_encoded_sounds_like_what_went_in() -> None:
    said = voice(2)
    heard = G722Decoder().decode([G722Encoder().encode(said)]).astype(float)
    delay = 22  # samples, and half a one: of the two filters, 24 taps each way
    error = heard[delay:] - said[:-delay]
    assert 10 * np.log10(np.mean(said.astype(float) ** 2) / np.mean(error**2)) > 12


def test_an_odd_sample_at_the_end_is_not_lost() -> None:
    assert len(G722Encoder().encode(np.ones(319, np.int16))) == 160


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert available()
    monkeypatch.setitem(sys.modules, "G722", None)
    assert not available()
    for make in (G722Decoder, G722Encoder):
        with pytest.raises(ConfigError, match=r"media-stream-receiver\[g722\]"):
            make()
