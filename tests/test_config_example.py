from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from receiver.config import Config
from receiver.config_file import load_config

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "config.example.toml"
MANUAL = ROOT / "docs" / "configuration.md"


def _tables(kind: object) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for field in kind.model_fields.values():
            yield from _tables(field.annotation)
    for part in get_args(kind):
        yield from _tables(part)


TABLES = sorted(set(_tables(Config)), key=lambda table: table.__name__)
KEYS = sorted((table.__name__, name) for table in TABLES for name in table.model_fields)


def test_the_example_is_the_default_configuration() -> None:
    assert load_config(EXAMPLE, {}).model_dump() == load_config(None, {}).model_dump() == Config().model_dump()


def test_all_tables_were_found() -> None:
    assert {"Config", "Server", "Limits", "Source", "TwilioSignatureAuth", "Token", "SinkConfig"} <= {
        table.__name__ for table in TABLES
    }


@pytest.mark.parametrize(("table", "key"), KEYS)
def test_every_key_is_in_the_example_and_in_the_manual(table: str, key: str) -> None:
    assert re.search(rf"^(# )?{key} = |\b{key} = |^\[{key}[.\]]|\.{key}\]", EXAMPLE.read_text(), re.MULTILINE)
    assert re.search(rf"`{key}`|\[{key}[.\]]|\.{key}\]|\b{key} \}}|[{{,] {key}\b", MANUAL.read_text())


@pytest.mark.parametrize("section", [name for name in Config.model_fields if name not in ("sources", "sinks")])
def test_the_example_writes_out_every_key_of_a_section(section: str) -> None:
    written = tomllib.loads(EXAMPLE.read_text())[section]
    defaults = getattr(Config(), section).model_dump()
    assert set(written) == {key for key, value in defaults.items() if value is not None}  # TOML cannot say None


def test_every_line_of_the_example_has_its_reason_and_fits_a_screen() -> None:
    for line in EXAMPLE.read_text().splitlines():
        assert len(line) <= 130
        if " = " in line and not line.startswith("#"):
            assert re.search(r"  # \w|  # [\"/]", line), line


def test_the_manual_gives_the_defaults_that_the_code_has() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", MANUAL.read_text(), re.MULTILINE))
    config = Config()
    for name in ("limits", "log"):
        for key, value in getattr(config, name).model_dump().items():
            assert tomllib.loads(f"x = {rows[key]}")["x"] == value
    for key, value in config.sinks["wav"].model_dump(exclude={"use", "options", "sources"}).items():
        assert tomllib.loads(f"x = {rows[key]}")["x"] == value
    for key in ("latency_ms", "shutdown_delay_s", "drain_timeout_s"):
        assert float(rows[key]) == getattr(config.server, key)
