from __future__ import annotations

import json
import uuid

from receiver.simulate.signalwire import SignalWire
from receiver.simulate.speaker import Opening


def test_ids_are_uuids_and_stand_in_the_start_message_alone() -> None:
    speaker = SignalWire()
    start = json.loads(speaker.start(Opening(("inbound",), "audio/x-L16", 24000, {})))
    ids = [start["start"][name] for name in ("streamSid", "accountSid", "callSid")]
    assert [str(uuid.UUID(given)) for given in ids] == ids and len(set(ids)) == 3
    later = [speaker.media("inbound", 0, b""), speaker.dtmf("1", 250), speaker.stop()]
    assert not any("streamSid" in message for message in [*map(json.loads, later), {**start, "start": None}])


def test_chunks_are_counted_per_track_and_sequence_numbers_over_all() -> None:
    speaker = SignalWire()
    speaker.start(Opening(("inbound", "outbound"), "audio/x-mulaw", 8000, {}))
    said = [json.loads(speaker.media(track, 0, b"\xff")) for track in ("inbound", "inbound", "outbound")]
    assert [message["media"]["chunk"] for message in said] == ["1", "2", "1"]
    assert [message["sequenceNumber"] for message in said] == ["2", "3", "4"]


def test_parameters_may_be_any_json() -> None:
    parameters = {"name": 'quote " and \\ and ü', "tags": [1, None, {"a": True}]}
    start = json.loads(SignalWire().start(Opening(("inbound",), "audio/x-mulaw", 8000, parameters)))
    assert start["start"]["customParameters"] == parameters
