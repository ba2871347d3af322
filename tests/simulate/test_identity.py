from __future__ import annotations

import json
import uuid
from collections.abc import Iterable

import pytest

from receiver.simulate.identity import Identity, identity_of
from receiver.simulate.script import Ending

SWAPPED = "7d56cc11-536d-4a45-b4fb-ed3d55be843b"


def renamed(identity: Identity, texts: Iterable[str | bytes | Ending], number: int = 3) -> list[str | bytes | Ending]:
    return [data for _, data in identity.renamed(iter([(0.0, text) for text in texts]), number)]


def test_the_ids_are_those_of_the_start_message() -> None:
    start = {"event": "start", "streamSid": "MZ1", "start": {"streamSid": "MZ1", "callSid": "CA1", "accountSid": "AC1"}}
    assert identity_of(start).ids == ("MZ1", "CA1")
    assert identity_of({"stream_id": "a", "start": {"call_id": "b", "callSid": 7}}).ids == ("a", "b")
    assert identity_of({"streamSid": "x" * 129, "start": None}).ids == ()


def test_a_uuid_becomes_another_wherever_it_stands() -> None:
    said = [f'{{"start":{{"streamSid":"{SWAPPED}"}}}}', f'{{"x":"sip:{SWAPPED}@host"}}', SWAPPED.encode(), Ending()]
    first, second, raw, ending = renamed(Identity((SWAPPED,)), said)
    assert isinstance(first, str)
    new = json.loads(first)["start"]["streamSid"]
    assert str(uuid.UUID(new)) == new != SWAPPED
    assert second == f'{{"x":"sip:{new}@host"}}'
    assert raw == SWAPPED.encode() and ending == Ending()  # what is binary stays as it is


@pytest.mark.parametrize("prefix", ["MZ", "CA", ""])
def test_an_id_of_hex_digits_becomes_another_of_its_form(prefix: str) -> None:
    old = prefix + uuid.uuid4().hex
    (new,) = renamed(Identity((old,)), [old])
    assert isinstance(new, str) and new != old
    assert new.startswith(prefix) and len(new) == len(old) and uuid.UUID(new.removeprefix(prefix))


def test_any_other_id_gets_a_number() -> None:
    long = "call-of-a-platform-0001"
    assert renamed(Identity((long,)), [long]) == [f"{long}-3"]
    assert renamed(Identity(("x" * 128,)), ["x" * 128], 12) == ["x" * 125 + "-12"]


def test_a_short_id_is_replaced_only_where_it_is_an_id() -> None:
    said = ['{"streamSid" : "1","media":{"chunk":"1","track":"1"}}', '{"call_id":"c.d","x":"c.d","callSid":"cxd"}']
    assert renamed(Identity(("1", "c.d")), said) == [
        '{"streamSid" : "1-3","media":{"chunk":"1","track":"1"}}',
        '{"call_id":"c.d-3","x":"c.d","callSid":"cxd"}',
    ]


def test_an_id_that_begins_another_does_not_spoil_it() -> None:
    ids = ("call-of-a-platform", "call-of-a-platform-leg-b")
    assert renamed(Identity(ids), [" ".join(ids)]) == ["call-of-a-platform-3 call-of-a-platform-leg-b-3"]
