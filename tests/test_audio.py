from __future__ import annotations

import pytest

from receiver.audio import RATES, AudioFormat, Encoding, parse_format
from receiver.errors import ProtocolError


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [(name, Encoding.PCMU) for name in ("audio/x-mulaw", "audio/basic", "audio/PCMU", "PCMU", "g711u", "ulaw", "mulaw")]
    + [(name, Encoding.PCMU) for name in ("G.711 u-law", "g711_ulaw", "x-mulaw", "mu-law", "µ-law", "μ-law")]
    + [(name, Encoding.PCMU) for name in ("pcm_mulaw", "AUDIO/X-MULAW", "  audio/x-mulaw\t")]
    + [(name, Encoding.PCMA) for name in ("audio/x-alaw", "audio/PCMA", "PCMA", "g711a", "alaw", "G.711A", "a-law")]
    + [(name, Encoding.L16) for name in ("audio/x-L16", "audio/x-l16", "audio/L16", "L16", "linear16", "pcm_s16le")]
    + [(name, Encoding.L16) for name in ("PCM16", "audio/pcm", "LINEAR-16", "s16le")]
    + [(name, Encoding.OPUS) for name in ("audio/opus", "OPUS", "audio/x-opus", "opus")]
    + [(name, Encoding.G722) for name in ("audio/G722", "G722", "audio/x-g722", "g.722", "G.722", "adpcm_g722")],
)
def test_an_encoding_goes_by_many_names(encoding: str, expected: Encoding) -> None:
    rate = RATES[expected][-1]
    assert parse_format(encoding, rate, 1) == (AudioFormat(expected, rate, 1), 0)


@pytest.mark.parametrize(
    ("encoding", "expected", "assumed"),
    [
        ("L16@24000h", AudioFormat(Encoding.L16, 24000), 1),
        ("L16@24000H@40I", AudioFormat(Encoding.L16, 24000), 1),
        ("PCMU@8000h@40i@1c", AudioFormat(Encoding.PCMU, 8000), 0),
        ("L16@16k", AudioFormat(Encoding.L16, 16000), 1),
        ("L16@16000k", AudioFormat(Encoding.L16, 16000), 1),
        ("opus@48000h@20i@2c@24000b~useinbandfec=1@h", AudioFormat(Encoding.OPUS, 48000, 2), 0),
        ("audio/L16;rate=16000;channels=1", AudioFormat(Encoding.L16, 16000), 0),
        (' audio/L16 ; Rate = "44100" ; channels = 2 ; x', AudioFormat(Encoding.L16, 44100, 2), 0),
        ("audio/x-mulaw;rate=8000", AudioFormat(Encoding.PCMU, 8000), 1),
        ("opus/48000/2", AudioFormat(Encoding.OPUS, 48000, 2), 0),
        ("PCMA/8000", AudioFormat(Encoding.PCMA, 8000), 1),
        ("audio/L16/16000/1", AudioFormat(Encoding.L16, 16000), 0),
        ("L16/8000/1@16000h@2c", AudioFormat(Encoding.L16, 16000, 2), 0),
        ("G722@16000h", AudioFormat(Encoding.G722, 16000), 1),
        ("G722@8000h@20i@1c@64000b", AudioFormat(Encoding.G722, 16000), 0),
        ("G722/8000", AudioFormat(Encoding.G722, 16000), 1),
        ("audio/G722;rate=8000", AudioFormat(Encoding.G722, 16000), 1),
    ],
)
def test_rate_and_channels_may_stand_in_the_name(encoding: str, expected: AudioFormat, assumed: int) -> None:
    assert parse_format(encoding, None, None) == (expected, assumed)


@pytest.mark.parametrize(
    ("encoding", "rate"), [("audio/x-mulaw", 8000), ("audio/x-alaw", 8000), ("L16", 8000), ("OPUS", 48000)]
)
def test_what_is_not_said_is_assumed_and_counted(encoding: str, rate: int) -> None:
    format, assumed = parse_format(encoding, None, None)
    assert (format.rate, format.channels, assumed) == (rate, 1, 2)
    assert parse_format(encoding, rate, None)[1] == 1
    assert parse_format(encoding, None, 2)[1] == 1


@pytest.mark.parametrize("rate", [8000, 16000])
def test_g722_has_16_khz_whichever_of_its_two_clocks_is_said(rate: int) -> None:
    assert parse_format("G722", rate, 1) == (AudioFormat(Encoding.G722, 16000), 0)
    assert parse_format("G722", None, None) == (AudioFormat(Encoding.G722, 16000), 2)


def test_a_field_wins_over_the_name() -> None:
    assert parse_format("L16@24000h@2c", 16000, 1) == (AudioFormat(Encoding.L16, 16000, 1), 0)


def test_an_operators_alias_is_asked_first_without_case() -> None:
    aliases = {"audio/X-Vendor": "L16@16000h", "PCMU": "PCMA", " my@codec ": "opus@24000h@1c"}
    assert parse_format("AUDIO/x-vendor", None, 1, aliases=aliases)[0] == AudioFormat(Encoding.L16, 16000)
    assert parse_format("audio/x-vendor@2c", None, None, aliases=aliases)[0] == AudioFormat(Encoding.L16, 16000, 2)
    assert parse_format("audio/x-vendor@8000h", None, None, aliases=aliases)[0] == AudioFormat(Encoding.L16, 8000)
    assert parse_format("pcmu", 8000, 1, aliases=aliases)[0] == AudioFormat(Encoding.PCMA, 8000)
    assert parse_format("My@Codec", None, None, aliases=aliases) == (AudioFormat(Encoding.OPUS, 24000), 0)


def test_an_alias_does_not_lead_to_another_alias() -> None:
    aliases = {"pcmu": "pcma", "pcma": "pcmu"}
    assert parse_format("PCMU", 8000, 1, aliases=aliases)[0].encoding is Encoding.PCMA


@pytest.mark.parametrize(
    ("encoding", "rate", "channels", "named"),
    [
        ("audio/G729", 8000, 1, "G729"),
        ("G.722.1", 16000, 1, "G.722.1"),
        ("G7221", 16000, 1, "G7221"),
        ("G722", 48000, 1, "48000 of G722"),
        ("G722", 16000, 2, "2 channels of G722"),
        ("", None, None, "''"),
        ("G711", 8000, 1, "G711"),
        ("audio/s16be", 8000, 1, "s16be"),
        ("PCMU", 11025, 1, "11025 of PCMU"),
        ("PCMA", -8000, 1, "-8000 of PCMA"),
        ("L16", 96000, 1, "96000 of L16"),
        ("OPUS", 44100, 1, "44100 of OPUS"),
        ("PCMU", 0, 1, "0 of PCMU"),
        ("PCMU", 8000, 3, "3 channels of PCMU"),
        ("L16", 8000, 0, "0 channels of L16"),
        ("L16@fasth", None, None, "L16@fasth"),
        ("L16@", None, None, "L16@"),
        ("audio/L16;rate=fast", None, None, "rate=fast"),
        ("audio/L16;rate=١٦", None, None, "L16"),
        ("L16/x/1", None, None, "L16/x/1"),
        ("L16/8000/", None, None, "L16/8000/"),
        ("L16@9999999999h", None, None, "L16@9999999999h"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    encoding: str, rate: int | None, channels: int | None, named: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_format(encoding, rate, channels)
    assert caught.value.code == 4415
    assert named in caught.value.reason


@pytest.mark.parametrize("encoding", ["\x1b[2J\r\n\0", "\u202eevil" * 30, "😀" * 500, "x" * 60_000, "L16@" + "\\" * 90])
def test_a_refusal_is_short_visible_ascii_whatever_the_peer_said(encoding: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_format(encoding, 10**400, 10**400)
    assert len(caught.value.reason.encode()) <= 120
    assert caught.value.reason.isascii()
    assert caught.value.reason.isprintable()


@pytest.mark.parametrize(("rate", "channels"), [(10**18, 1), (8000, 10**18), (-(10**18), 1), (10**400, 1)])
def test_numbers_of_any_size_are_refused(rate: int, channels: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_format("PCMU", rate, channels)
    assert len(caught.value.reason.encode()) <= 120
