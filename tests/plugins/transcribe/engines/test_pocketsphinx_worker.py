"""The decoder of a worker, without the worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("pocketsphinx")

from receiver_plugins.transcribe.engine import RATE
from receiver_plugins.transcribe.engines.pocketsphinx_model import Model, find_model
from receiver_plugins.transcribe.engines.pocketsphinx_worker import PocketsphinxDecoder
from receiver_plugins.transcribe.engines.worker import CannotLoad


@pytest.fixture(scope="module")
def decoder() -> Iterator[PocketsphinxDecoder]:
    yield PocketsphinxDecoder(find_model(None))


def test_words_come_with_their_places_and_without_noise(decoder: PocketsphinxDecoder, kit: Any) -> None:
    samples = kit.speech("outbound", 15.6, 17.6)  # "Is there anything else?"
    partials = [one for at in range(0, len(samples), 4000) for one in decoder.feed(samples[at : at + 4000].tobytes())]
    assert partials
    assert not any(one.final for one in partials)
    assert all(0 <= one.start < one.end for one in partials)
    (final,) = decoder.finish()
    assert final.final
    assert {"anything", "else"} <= set(final.text.split())
    assert [word.text for word in final.words] == final.text.split()
    assert not set(final.text) & set("<>[]()+")
    assert decoder.finish() == ()


def test_an_utterance_that_was_dropped_leaves_nothing(decoder: PocketsphinxDecoder, kit: Any) -> None:
    samples = kit.speech("outbound", 15.6, 17.6)
    decoder.feed(samples.tobytes())
    alone = decoder.finish()
    decoder.feed(kit.speech("inbound", 3.4, 5).tobytes())
    decoder.drop()
    decoder.drop()
    decoder.feed(samples.tobytes())
    assert decoder.finish() == alone


def test_silence_has_no_words(decoder: PocketsphinxDecoder) -> None:
    assert decoder.feed(bytes(2 * RATE)) == ()
    assert decoder.finish() == ()


def test_a_model_that_is_none_cannot_be_loaded(decoder: PocketsphinxDecoder) -> None:
    with pytest.raises(CannotLoad) as raised:
        PocketsphinxDecoder(Model("nothing", "nothing", "nothing"))
    assert raised.value.option == "model"
