"""Options: a plugin's keyword arguments, validated by their hints."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from receiver.errors import ConfigError
from receiver.secret import Secret
from receiver.sinks.loading import Loaded, load
from receiver.sinks.options import Option, describe_options, validate_options

pytestmark = pytest.mark.usefixtures("path_as_it_was")


HEAD = """
from __future__ import annotations
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated
from pydantic import Field
from receiver.sinks import Secret, Sink, Stream

async def listen(stream, events):
    async for event in events:
        pass
"""


def write(folder: Path, text: str, name: str = "my.py") -> str:
    (folder / name).write_text(HEAD + text)
    return f"./{name}"


def problem(use: str, base: Path, **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load("mine", use, options, base)
    return str(caught.value)


def opened(loaded: Loaded) -> object:
    async def run() -> object:
        async with loaded.open() as value:
            return value

    return asyncio.run(run())


PLUGIN = """
@asynccontextmanager
async def plugin(*, model: Path, rate: int = 8000, names: list[Path] = [], token: Secret | None = None,
                 folders: dict[str, Path] = {}, anything=None, model_name: str = "x", gain: float = 1.0):
    "Does much. More of it."
    yield listen
"""


def test_options_are_validated_by_their_hints(tmp_path: Path) -> None:
    (tmp_path / "token.txt").write_text("hush\n")
    options = {
        "model": "m.bin",
        "names": ["a", "/b"],
        "folders": {"x": "c"},
        "token": {"file": "token.txt"},
        "gain": 2,
        "anything": [1],
    }
    loaded = load("mine", write(tmp_path, PLUGIN), options, tmp_path)
    assert loaded.options["model"] == tmp_path / "m.bin"
    assert loaded.options["rate"] == 8000
    assert loaded.options["names"] == [tmp_path / "a", Path("/b")]
    assert loaded.options["folders"] == {"x": tmp_path / "c"}
    assert loaded.options["model_name"] == "x"
    assert isinstance(loaded.options["token"], Secret) and loaded.options["token"].value() == "hush"
    assert opened(loaded).__name__ == "listen"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "key", "said"),
    [
        ({}, "model", "is required"),
        ({"model": "m", "rate": "fast"}, "rate", "input should be a valid integer"),
        ({"model": "m", "rates": 5}, "rates", "there is no such option; there are: anything, folders, gain, model"),
        ({"model": "m", "names": ["a", 5]}, "names.1", "is not a valid path"),
        ({"model": "m", "token": "in-the-open"}, "token", "never the secret itself"),
    ],
)
def test_wrong_options_are_named_and_their_values_not_shown(
    options: dict[str, object], key: str, said: str, tmp_path: Path
) -> None:
    shown = problem(write(tmp_path, PLUGIN), tmp_path, **options)
    assert shown.startswith(f"sinks.mine.options.{key}")
    assert said in shown
    assert "in-the-open" not in shown


VALIDATED = """
from pydantic import AfterValidator
def refuse(value):
    raise ValueError(f"{value!r} or {value}, or {str(value).upper()}, is not a thing that ends in .bin")
def fail(value):
    raise KeyError(value)
@asynccontextmanager
async def plugin(*, a: Annotated[str, AfterValidator(refuse)] = "", b: Annotated[int, AfterValidator(refuse)] = 1,
                 c: Annotated[dict[str, list[str]], AfterValidator(refuse)] = {},
                 d: Annotated[str, AfterValidator(fail)] = ""):
    yield listen
"""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"a": "hush-hush"}, "options.a: value error, '…' or …, or …, is not a thing that ends in .bin"),
        ({"a": "x", "b": 0}, "options.a: value error, '…' or …, or …, is not a thing that ends in .bin"),
        ({"b": 31337}, "options.b: value error, … or …, or …, is not a thing that ends in .bin"),
        ({"c": {"key": ["hush-hush"]}}, "options.c: value error, {'key': ['…']} or"),
        ({"a": ""}, "options.a: value error, '' or , or , is not a thing that ends in .bin"),
        ({"d": "hush-hush"}, "options: a validator of the plugin failed with KeyError"),
    ],
)
def test_what_a_validator_of_the_plugin_says_is_said_without_the_value(
    options: dict[str, object], said: str, tmp_path: Path
) -> None:
    shown = problem(write(tmp_path, VALIDATED), tmp_path, **options)
    assert said in shown
    assert "hush" not in shown.lower() and "31337" not in shown


def test_hints_that_cannot_be_used_are_the_authors_mistake_and_said_so(tmp_path: Path) -> None:
    nameless = "@asynccontextmanager\nasync def plugin(*, a: Nowhere = 1):\n    yield listen"
    assert "a type hint cannot be read: name 'Nowhere'" in problem(write(tmp_path, nameless), tmp_path)
    odd = (
        "@asynccontextmanager\nasync def plugin(*, a: Annotated[int, Field(discriminator='x')] = 1):\n    yield listen"
    )
    assert "type hint cannot be used" in problem(write(tmp_path, odd, "odd.py"), tmp_path)
    stars = "@asynccontextmanager\nasync def plugin(**more):\n    yield listen"
    assert "must be keyword arguments" in problem(write(tmp_path, stars, "stars.py"), tmp_path)


def keyword(*, name: str, files: list[Path] = [], gain: float | None = None, anything=None) -> None:  # noqa: B006
    """A factory's signature."""


class Positional:
    """A class whose constructor takes options."""

    def __init__(self, pair: tuple[Path, Path], names: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        """Nothing is made of them."""


def test_options_are_described_in_their_own_order() -> None:
    assert describe_options(keyword) == [
        Option("name", "str", True, None),
        Option("files", "list[Path]", False, "[]"),
        Option("gain", "float | None", False, "None"),
        Option("anything", "Any", False, "None"),
    ]
    assert [option.name for option in describe_options(Positional)] == ["pair", "names"]


def bounded(*, loud: Annotated[float, Field(ge=0.5)] = 1, many: Annotated[int | None, Field(gt=0)] = None) -> None:
    """A factory whose options have bounds."""


def test_an_option_is_described_without_its_bounds(tmp_path: Path) -> None:
    assert [option.type for option in describe_options(bounded)] == ["float", "int | None"]
    with pytest.raises(ConfigError, match=r"sinks\.mine\.options\.loud: input should be greater than or equal to 0\.5"):
        validate_options(bounded, {"loud": 0.25}, "sinks.mine.options", tmp_path)
    with pytest.raises(ConfigError, match=r"sinks\.mine\.options\.many: input should be greater than 0"):
        validate_options(bounded, {"many": 0}, "sinks.mine.options", tmp_path)


def test_paths_are_below_the_base_wherever_they_stand(tmp_path: Path) -> None:
    given = {"pair": ["a", "~/b"]}
    found = validate_options(Positional, given, "sinks.mine.options", tmp_path)
    assert found == {"pair": (tmp_path / "a", Path.home() / "b"), "names": frozenset()}


def test_no_options_are_known_by_a_factory_that_takes_none(tmp_path: Path) -> None:
    assert validate_options(lambda: None, {}, "sinks.mine.options", tmp_path) == {}
    with pytest.raises(ConfigError, match=r"sinks\.mine\.options\.x: there is no such option; there are: none"):
        validate_options(lambda: None, {"x": 1}, "sinks.mine.options", tmp_path)


def test_a_secret_is_read_from_the_environment_that_is_given(tmp_path: Path) -> None:
    def factory(*, token: Secret) -> None:
        """Takes a secret."""

    factory.__annotations__["token"] = Secret
    found = validate_options(factory, {"token": {"env": "MINE"}}, "k", tmp_path, {"MINE": "hush"})
    assert found["token"].value() == "hush"
