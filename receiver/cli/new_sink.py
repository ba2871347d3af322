"""``receiver new-sink``: a plugin package to start from."""

from __future__ import annotations

import importlib.util
import keyword
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from receiver.problems import check_name
from receiver.sinks.finding import installed_sinks

TEMPLATE = files("receiver.cli") / "template"
"""A package whose sink is called ``my_sink``."""

NAME, DISTRIBUTION = "my_sink", "my-sink-distribution"

FILES = {
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    ".gitignore": "gitignore.txt",
    f"{NAME}.py": "sink.py.txt",
    f"tests/test_{NAME}.py": "test_sink.py.txt",
}
"""What is written, and the file of the template that it is made of."""

TAKEN = {"tests", "receiver", "receiver_plugins"} | sys.stdlib_module_names


def new_sink(
    name: Annotated[str, typer.Argument(help="Of the sink: small letters, digits and underscores.", metavar="NAME")],
    directory: Annotated[
        Path | None,
        typer.Option(help="The folder to make. Without it: NAME, here.", metavar="DIR", show_default=False),
    ] = None,
) -> None:
    """Write a plugin package to start from.

    It has a sink that works, its options and check, and tests that run the conformance suite. Exits with 0, with 1 if
    the folder is there already or cannot be made, with 2 if no sink can have this name.
    """
    problem = name_problem(name)
    if problem is not None:
        typer.echo(f"receiver new-sink: {name!r}: {problem}", err=True)
        raise typer.Exit(2)
    folder = Path(name) if directory is None else directory
    try:
        folder.mkdir(parents=directory is not None)
        for path in written(folder, name):
            print(path)
    except FileExistsError:
        typer.echo(f"receiver new-sink: {folder} is there already, and nothing of it is touched", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(f"receiver new-sink: {folder} cannot be made: {error.strerror}", err=True)
        raise typer.Exit(1) from None
    print(f"""
Next:
    cd {folder}
    pip install -e ".[test]"
    pytest
    receiver sinks
    receiver serve --sink {name}""")


def name_problem(name: str) -> str | None:
    """Why no sink can have this name; None: one can."""
    try:
        check_name(name)
    except ValueError as error:
        return str(error)
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return "is a word of Python's own"
    for point in installed_sinks():
        if point.name == name:
            return f"there is an installed sink of this name ({point.value})"
    if name in TAKEN or importlib.util.find_spec(name) is not None:
        return "there is a Python module of this name, which it would hide"
    return None


def written(folder: Path, name: str) -> list[Path]:
    """Write the package, and nothing over anything. Blocks. Raises OSError."""
    made = []
    for place, source in FILES.items():
        path = folder / place.replace(NAME, name)
        path.parent.mkdir(exist_ok=True)
        text = (TEMPLATE / source).read_text()
        with path.open("x") as file:
            file.write(text.replace(DISTRIBUTION, f"receiver-sink-{name.replace('_', '-')}").replace(NAME, name))
        made.append(path)
    return made
