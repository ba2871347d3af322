from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from receiver.routes import check_path, check_paths, check_public_url, check_token_part


@pytest.mark.parametrize("path", ["/", "/stream", "/a/b.c_d~e-f", "/calls/{tenant}", "/{a}/{b}", "/livez/x", "/..a"])
def test_a_path_is_made_of_literal_and_named_parts(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "must start with /"),
        ("stream", "must start with /"),
        ("/stream/", "has the part ''"),
        ("//stream", "has the part ''"),
        ("/a b", "has the part 'a b'"),
        ("/a%20b", "has the part"),
        ("/a?b", "has the part"),
        ("/a\n", "has the part"),
        ("/é", "has the part"),
        ("/.", "has the part"),
        ("/a/../b", "has the part '..'"),
        ("/{}", "has the part"),
        ("/{A}", "has the part"),
        ("/x{a}", "has the part"),
        ("/{a:path}", "has the part"),
        ("/{a}/x/{a}", "twice"),
        ("/livez", "would hide /livez"),
        ("/readyz", "would hide /readyz"),
        ("/metrics", "would hide /metrics"),
        ("/{anything}", "would hide /livez"),
    ],
)
def test_any_other_path_is_refused_with_the_reason(path: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        check_path(path)
    assert problem in str(caught.value)


@pytest.mark.parametrize("path", ["/{token}/x", "/calls/{token}", "/calls/{tenant}/{token}"])
def test_a_token_is_a_part_of_a_path_where_tokens_are_in_paths_and_nowhere_else(path: str) -> None:
    check_token_part(check_path(path), use="path_token")
    for use in ("bearer", "twilio_signature", "none"):
        with pytest.raises(PydanticCustomError, match=r"has the part {token}, which is only for"):
            check_token_part(path, use=use)


@pytest.mark.parametrize("path", ["/", "/token", "/calls/{tokens}"])
def test_without_that_part_there_is_no_place_for_a_token(path: str) -> None:
    check_token_part(path, use="bearer")
    with pytest.raises(PydanticCustomError, match=r"needs the part {token}"):
        check_token_part(path, use="path_token")


@pytest.mark.parametrize(
    "url",
    [
        "wss://voice.example.com",
        "https://voice.example.com",
        "wss://voice.example.com:8443",
        "wss://voice.example.com:443/below/the-proxy",
        "wss://localhost",
        "wss://192.0.2.1:65535",
        "wss://[2001:db8::1]:8443/x",
        "wss://a.example/a%20b",
    ],
)
def test_a_public_url_is_what_stands_before_a_path(url: str) -> None:
    assert check_public_url(url) == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "must start with wss:// or https://"),
        ("ws://a.example", "must start with"),
        ("http://a.example", "must start with"),
        ("a.example", "must start with"),
        (" wss://a.example", "must start with"),
        ("WSS://a.example", "must start with"),
        ("wss://a.example?x=1", "must not have a query"),
        ("wss://a.example#x", "or a fragment"),
        ("wss://s3cr3t:s3cr3t@a.example", "must not have a user or a password"),
        ("wss://a.example/", "must not end with /"),
        ("wss://", "must not end with /"),
        ("wss:///x", "must be wss://host"),
        ("wss://a b.example", "must be wss://host"),
        ("wss://a.example\n", "must be wss://host"),
        ("wss://é.example", "must be wss://host"),
        ("wss://-a.example", "must be wss://host"),
        ("wss://a.example:", "must be wss://host"),
        ("wss://a.example:0", "must be wss://host"),
        ("wss://a.example:65536", "must be wss://host"),
        ("wss://a.example:https", "must be wss://host"),
        ("wss://a.example//x", "must be wss://host"),
        ("wss://[::1", "must be wss://host"),
        ("wss://a.example/{token}", "must be wss://host"),
    ],
)
def test_any_other_public_url_is_refused_with_the_reason_and_not_shown(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        check_public_url(url)
    assert problem in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("other", ["/a/b", "/a/{y}", "/{y}/b", "/{y}/{z}"])
def test_a_request_is_never_for_two_sources(other: str) -> None:
    with pytest.raises(PydanticCustomError, match=r"also be for|sources\.first"):
        check_paths({"first": "/a/b", "second": other})


@pytest.mark.parametrize("other", ["/a", "/a/b/c", "/a/c", "/{x}/c", "/"])
def test_paths_that_no_request_fits_twice_go_together(other: str) -> None:
    check_paths({"first": "/a/b", "second": other})
