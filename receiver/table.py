"""What every table of the configuration has in common, and the kinds of values that several of them hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from receiver.problems import problem_at

Port = Annotated[int, Field(ge=0, le=65535)]  # 0: any free one
Seconds = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
FilePath = Annotated[Path, Field(strict=False)]  # text in a file
Texts = Annotated[tuple[str, ...], Field(strict=False)]  # lists in a file


class Table(BaseModel):
    """A table of the file: frozen, without unknown keys, without coercion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, table: object) -> object:
        for key in table if isinstance(table, dict) else ():
            if key not in cls.model_fields:
                raise problem_at(key, f"is not a key here; the keys are {', '.join(sorted(cls.model_fields))}")
        return table
