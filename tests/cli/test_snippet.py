from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
import typer
from typer.testing import CliRunner, Result

from receiver.cli.snippet import Kind, snippet
from receiver.simulate.snippets import SNIPPETS

APP = typer.Typer()
APP.command()(snippet)
URL = "wss://receiver.example/stream"


def run(*arguments: str) -> Result:
    return CliRunner(env={"RECEIVER_TOKEN": "s3cret"}).invoke(APP, [*arguments])


def test_every_surface_has_a_kind() -> None:
    assert [*SNIPPETS, "all"] == [kind.value for kind in Kind]


def test_all_prints_each_surface_under_its_name() -> None:
    done = run("--url", URL)
    assert done.exit_code == 0
    assert [line for line in done.stdout.splitlines() if line.startswith("──")] == [
        f"── {name} ──" for name in SNIPPETS
    ]
    assert done.stdout.count(URL) == 6


@pytest.mark.parametrize("kind", SNIPPETS)
def test_the_token_of_the_environment_is_never_printed(kind: str) -> None:
    done = run("--url", URL, "--kind", kind)
    assert done.exit_code == 0
    assert "s3cret" not in done.stdout and "RECEIVER_TOKEN" in done.stdout


def test_one_kind_prints_its_text_alone_so_that_it_can_be_piped() -> None:
    assert json.loads(run("--url", URL, "--kind", "swml").stdout)["version"] == "1.0.0"
    assert ElementTree.fromstring(run("--url", URL, "--kind", "cxml").stdout).tag == "Response"


def test_a_token_that_is_given_is_written_out() -> None:
    assert "t0ken" in run("--url", URL, "--kind", "swml", "--token", "t0ken").stdout


def test_the_variable_can_be_named() -> None:
    text = run("--url", URL, "--kind", "relay-js", "--token-env", "STREAM_TOKEN").stdout
    assert "process.env.STREAM_TOKEN" in text and "RECEIVER_TOKEN" not in text


@pytest.mark.parametrize(("given", "named"), [("l16", "L16@16000h"), ("L16@24000H", "L16@24000h"), ("opus", "OPUS")])
def test_a_codec_may_be_written_shortly(given: str, named: str) -> None:
    script = json.loads(run("--url", URL, "--kind", "swml", "--codec", given).stdout)
    assert script["sections"]["main"][1]["stream"]["codec"] == named


def test_a_codec_that_a_surface_lacks_is_refused_alone_and_told_among_all() -> None:
    alone = run("--url", URL, "--kind", "cxml", "--codec", "OPUS")
    assert alone.exit_code == 2 and "cXML has no codec OPUS" in alone.stderr
    among_all = run("--url", URL, "--codec", "OPUS")
    assert among_all.exit_code == 0
    assert "not possible: cXML has no codec OPUS" in among_all.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--url", "ws://receiver.example/"), "--url must be wss://"),
        (("--url", "wss://receiver.example/?token=x"), "without a query"),
        (("--url", "wss://receiver.example/a b"), "--url must be wss://"),
        (("--url", URL, "--codec", "MP3"), "--codec MP3: PCMU, PCMA"),
        (("--url", URL, "--token-env", "A B"), "--token-env must be"),
        (("--url", URL, "--token", "s3cret x"), "--token must be printable"),
        (("--url", URL, "--kind", "telex"), "telex"),
    ],
)
def test_wrong_use_exits_2_and_names_what_is_wrong(arguments: tuple[str, ...], problem: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert problem in done.stderr and "s3cret" not in done.output
