from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from receiver.routes import check_path, check_paths


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
        ("/x/{token}", "later version"),
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


@pytest.mark.parametrize("other", ["/a/b", "/a/{y}", "/{y}/b", "/{y}/{z}"])
def test_a_request_is_never_for_two_sources(other: str) -> None:
    with pytest.raises(PydanticCustomError, match=r"also be for|sources\.first"):
        check_paths({"first": "/a/b", "second": other})


@pytest.mark.parametrize("other", ["/a", "/a/b/c", "/a/c", "/{x}/c", "/"])
def test_paths_that_no_request_fits_twice_go_together(other: str) -> None:
    check_paths({"first": "/a/b", "second": other})
