"""The forge's workflows and what they run: by the forge's schema, pinned, and with no more rights than they need."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import check_jsonschema
import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCHEMA = files(check_jsonschema) / "builtin_schemas" / "vendor" / "github-workflows.json"


class Loader(yaml.SafeLoader):
    """YAML 1.2's idea of true and false, which is the forge's: ``on`` is a word."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))


def loaded(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.load(path.read_text(), Loader=Loader)
    return content


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in loaded(path)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_one_by_the_forges_schema(path: Path) -> None:
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))
    validator.validate(loaded(path))
    planted = loaded(path)
    planted["permisions"] = {}
    assert not validator.is_valid(planted)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit_and_says_which_version_that_is(path: Path) -> None:
    used = re.findall(r"uses: (.*)$", path.read_text(), re.MULTILINE)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_job_may_read_at_most_and_ends_by_itself(path: Path) -> None:
    workflow = loaded(path)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 30
    kept = [step for step in steps(path) if "checkout" in step.get("uses", "")]
    assert all(
        step["with"] == {"persist-credentials": "false"} or not step["with"]["persist-credentials"] for step in kept
    )


def test_only_publishing_may_write_and_only_what_it_has_to() -> None:
    jobs = loaded(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    assert {name: job["permissions"] for name, job in jobs.items()} == {
        "build": {"contents": "read"},
        "publish": {"id-token": "write"},
        "announce": {"contents": "write"},
    }
    for name in ("publish", "announce"):  # where there are rights, nothing of the project runs
        assert not any(
            "checkout" in step.get("uses", "") or "make" in step.get("run", "") for step in jobs[name]["steps"]
        )


def test_the_tests_run_on_every_python_that_is_said_to_be_supported() -> None:
    matrix = loaded(ROOT / ".github" / "workflows" / "test.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert matrix == [python for text in classifiers for python in re.findall(r"Python :: (\d\.\d+)$", text)]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_makes_are_targets_of_the_makefile(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = re.findall(r"make ([a-z-]+)", " ".join(step.get("run", "") for step in steps(path)))
    assert made and set(made) <= targets


def test_the_gate_and_the_workflow_make_the_same() -> None:
    gate = set(re.findall(r"^\s*make ([a-z-]+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)) - {"setup"}
    workflow = set(re.findall(r"make ([a-z-]+)", (ROOT / ".github" / "workflows" / "test.yml").read_text()))
    assert gate == workflow - {"target"} == {"test", "test-system", "check", "security"}


def test_every_rule_of_semgrep_has_a_line_that_it_has_to_find() -> None:
    """That it does find it is what ``make security`` asks semgrep itself."""
    rules = {rule["id"] for rule in yaml.safe_load((ROOT / "checks" / "rules.yml").read_text())["rules"]}
    planted = (ROOT / "checks" / "rules.py").read_text()
    assert rules == set(re.findall(r"# ruleid: ([\w-]+)$", planted, re.MULTILINE))


@pytest.mark.parametrize("name", ["dev", "tools"])
def test_a_lock_pins_everything_by_hash_and_names_no_index(name: str) -> None:
    lock = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert not re.search(r"https?://|file:|--(extra-)?index|--find-links", lock)
    pins = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert all("==" in line and line.endswith("\\") for line in pins)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"][name]
    locked = {line.partition("==")[0] for line in pins}
    assert {re.split(r"[\s>=;]", requirement)[0].lower() for requirement in wanted} <= locked
