from __future__ import annotations

import pytest

from receiver.dialects import DIALECTS, open_dialect
from receiver.errors import ConfigError


def test_the_dialects_have_names() -> None:
    assert DIALECTS == ("auto", "signalwire", "twilio")
    assert [open_dialect(name).name for name in DIALECTS] == list(DIALECTS)


def test_every_connection_gets_a_dialect_of_its_own() -> None:
    for name in DIALECTS:
        assert open_dialect(name) is not open_dialect(name)


@pytest.mark.parametrize("name", ["", "Twilio", "telnyx"])
def test_an_unknown_dialect_is_a_mistake_in_the_configuration(name: str) -> None:
    with pytest.raises(ConfigError, match=r"dialect: .* is not one of auto, signalwire, twilio"):
        open_dialect(name)
