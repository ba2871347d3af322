"""Who may not ask the management listener to change something, and how a problem is said."""

from __future__ import annotations

import json

import pytest
from starlette.requests import Request

from receiver.asgi.answers import is_foreign, problem


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"origin": "http://localhost:8081"}, False),
        ({"origin": "https://evil.example"}, True),
        ({"origin": "null"}, True),
        ({"origin": "http://["}, True),
        ({"sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),
    ],
)
def test_a_page_of_another_origin_is_foreign(headers: dict[str, str], foreign: bool) -> None:
    raw = [(name.encode(), value.encode()) for name, value in ({"host": "localhost:8081"} | headers).items()]
    assert is_foreign(Request({"type": "http", "headers": raw})) is foreign


def test_a_problem_is_said_in_json() -> None:
    answer = problem(404, 'no "such" thing')
    assert (answer.status_code, json.loads(bytes(answer.body))) == (404, {"error": 'no "such" thing'})
