from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, Field, ValidationError

from receiver.problems import config_error


class Options(BaseModel):
    layout: Annotated[str, Field(max_length=3)] = "a"
    ratio: Annotated[int, Field(multiple_of=2)] = 2


def _error(table: object, **variables: str) -> str:
    with pytest.raises(ValidationError) as caught:
        Options.model_validate(table, strict=True)
    return str(config_error(caught.value, variables))


def test_the_variable_that_set_a_key_is_named_and_no_other() -> None:
    assert _error({"layout": 1}, layout="RECEIVER__LAYOUT", lay="RECEIVER__LAY").endswith(" (set by RECEIVER__LAYOUT)")


def test_a_problem_without_a_sentence_of_ours_has_pydantics() -> None:
    assert _error({"ratio": 3}) == "ratio: must be a multiple of 2"


def test_a_kind_of_value_without_a_word_is_not_mentioned() -> None:
    assert _error({"layout": None}) == "layout: must be text"
