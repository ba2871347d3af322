"""Our own ids."""

import time
from uuid import UUID

from receiver.asgi.stream_id import new_stream_id


def test_ids_are_uuids_of_version_7_that_sort_by_time() -> None:
    before = time.time_ns() // 1_000_000
    first = new_stream_id()
    time.sleep(0.002)
    second = new_stream_id()
    assert first < second
    parsed = UUID(first)
    assert (parsed.version, parsed.variant) == (7, "specified in RFC 4122")
    assert before <= parsed.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_do_not_repeat() -> None:
    assert len({new_stream_id() for _ in range(10_000)}) == 10_000
