"""Every example of docs/testing.md, run as it stands by a pytest of its own."""

from __future__ import annotations

import inspect
import json
import re
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import soundfile

from receiver.simulate import Call, Outcome, messages
from receiver.testing import PlayOptions, Recorded, SinkConformance
from receiver.testing.profile import Profile
from receiver.testing.tables import DEFAULTS, LARGE, SINK_DEFAULTS

pytest_plugins = ["pytester"]

PAGE = (Path(__file__).parents[1] / "docs" / "testing.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
TESTS = [block for block in BLOCKS if "def test_" in block or "SinkConformance" in block]
RULES = [name for name in dir(SinkConformance) if name.startswith("test_")]
PLUGIN = "receiver.testing.plugin"
INSTALLED = any(point.value == PLUGIN for point in entry_points(group="pytest11"))


def test_the_examples_of_the_page_pass(pytester: pytest.Pytester) -> None:
    (sink,) = [block for block in BLOCKS if block not in TESTS]
    pytester.makepyfile(my_sink=sink, **{f"test_{number}": block for number, block in enumerate(TESTS)})
    pytester.syspathinsert()
    hello = pytester.path / "hello.wav"
    soundfile.write(hello, (np.arange(8000) % 999).astype(np.int16), 8000)
    said = [f'[{at},"m",{text}]' for at, text in messages(Call(inbound=hello))]
    lost = [*said[:3], *said[4:]]
    (pytester.path / "call.jsonl").write_text("\n".join([json.dumps({"version": 1}), *lost, ""]))
    loaded = () if INSTALLED else ("-p", PLUGIN)
    result = pytester.runpytest_subprocess("-W", "error", *loaded, timeout=55)
    suites = sum("SinkConformance" in block for block in TESTS)
    skipped = 9  # they have no restarts, records, recover and check; one has no wrong options
    tests = sum(block.count("def test_") for block in TESTS) + suites * len(RULES)
    result.assert_outcomes(passed=tests - skipped, skipped=skipped)


def test_the_page_has_its_examples() -> None:
    assert len(TESTS) == 9 and len(BLOCKS) == 10


def test_the_page_names_every_rule_and_every_attribute_of_the_suite() -> None:
    for name in [*(rule.removeprefix("test_") for rule in RULES), *Profile.__annotations__]:
        assert f"`{name}`" in PAGE, name
    defaults = dict(re.findall(r"^\| `(\w+)` \| (\d+\.\d) \|", PAGE, re.MULTILINE))
    assert defaults == {name: str(getattr(Profile, name)) for name in ("seconds", "finish_s", "blocks_s")}
    assert f"| `rate`, `rates` | {Profile.rate}, {Profile.rates} |" in PAGE


def test_the_page_names_everything_that_can_be_chosen_and_asked() -> None:
    fields = set(re.findall(r"^\s*([a-z_]+):", inspect.getsource(PlayOptions), re.MULTILINE))
    asked = {name for name in vars(Recorded) | Recorded.__annotations__ if not name.startswith("_")} - {"read"}
    for name in fields | asked | {"status", "close_code", "close_reason", "messages", "ok"}:
        assert f"`{name}" in PAGE, name
    assert {"status", "close_code", "close_reason", "messages"} <= set(Outcome.__struct_fields__)


def test_the_page_tells_the_defaults() -> None:
    text = " ".join(PAGE.split())
    for key, value in SINK_DEFAULTS.items():
        assert f"`{key}` is {value}" in text
    assert "`limits.feeds_bytes` and `limits.writer_bytes` are 1 GiB" in text
    assert LARGE == 2**30 == DEFAULTS["limits"]["feeds_bytes"] == DEFAULTS["limits"]["writer_bytes"]
    for table, keys in DEFAULTS.items():
        for key in set(keys) - {"host", "port", "feeds_bytes", "writer_bytes"}:
            assert re.search(rf"`{table}\.{key}`[^`]* is {keys[key]}\b|\(`{table}\.{key}` is {keys[key]}\)", text), key
