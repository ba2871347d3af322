"""Prometheus' configuration, the alerts and the board: that they speak of figures which there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver.events import Cause, Ended, EndReason
from receiver.metrics import Metrics

LOOK = "look-4711"
SERIES = re.compile(r"\b(?:receiver|process)_[a-z_]+\b")
COMPARED = re.compile(r'\b(reason|cause)=~"([^"]+)"')


@pytest.fixture(scope="module")
def board(root: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((root / "deploy/grafana/dashboards/receiver.json").read_text())
    return told


@pytest.fixture(scope="module")
def alerts(root: Path) -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((root / "deploy/prometheus/alerts.yml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def expressions(board: dict[str, Any], alerts: list[dict[str, Any]]) -> Iterator[str]:
    """Everything that is asked of Prometheus, with what Grafana would put into it."""
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1m")
    for rule in alerts:
        yield rule["expr"]


@pytest.fixture(scope="module")
def shown() -> str:
    """What a receiver shows that has been through everything once."""
    metrics = Metrics(sources=["default"], sinks=["wav"])
    metrics.watch_disk(Path("/"))
    metrics.refused("default", "streams")
    metrics.received("default", {"media": 1})
    metrics.stream_started("default")
    metrics.stream_ended("default", Ended(EndReason.STOP, True, tracks={}))
    return metrics.render()[0].decode()


def test_every_figure_of_the_board_and_the_alerts_is_one_of_ours(
    board: dict[str, Any], alerts: list[dict[str, Any]], shown: str
) -> None:
    ours = set(re.findall(r"^([a-z_]+)", shown, re.MULTILINE)) | set(re.findall(r"^# TYPE (\S+)", shown, re.MULTILINE))
    asked = {name for expression in expressions(board, alerts) for name in SERIES.findall(expression)}
    assert asked - ours == set()
    families = set(re.findall(r"^# TYPE (receiver_\S+)", shown, re.MULTILINE))
    told = " ".join(asked)
    unused = {family for family in families if family not in told} - {"receiver_build_info"}
    assert unused == set(), "the board or an alert has a place for every figure"
    assert "receiver_build_info" in json.dumps(board["templating"])


def test_every_word_that_an_alert_looks_for_is_one_that_is_said(root: Path, alerts: list[dict[str, Any]]) -> None:
    source = "".join(path.read_text() for path in (root / "receiver").rglob("*.py"))
    known = {"cause": set(Cause), "reason": set(EndReason) | set(re.findall(r'"([a-z_]+)"', source))}
    for rule in alerts:
        for label, pattern in COMPARED.findall(rule["expr"]):
            for word in pattern.split("|"):
                stem = word.removesuffix(".*")
                assert any(said.startswith(stem) if stem != word else said == word for said in known[label]), word


def test_every_alert_says_how_bad_it_is_and_what_to_do(alerts: list[dict[str, Any]]) -> None:
    for rule in alerts:
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]


def test_the_board_is_laid_out_without_overlaps_and_asks_the_provisioned_source(
    root: Path, board: dict[str, Any]
) -> None:
    provisioned = yaml.safe_load((root / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    (source,) = provisioned["datasources"]
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"] and panel["targets"] and panel["datasource"]["uid"] == source["uid"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_board_is_where_grafana_looks_for_it(root: Path) -> None:
    services = yaml.safe_load((root / "docker-compose.yml").read_text())["services"]
    mounted = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    provided = yaml.safe_load((root / "deploy/grafana/provisioning/dashboards/receiver.yml").read_text())
    (provider,) = provided["providers"]
    assert mounted["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounted["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"


@pytest.mark.system
def test_promtool_finds_nothing_wrong_and_the_alerts_do_what_their_tests_say(root: Path, program: Any) -> None:
    tool = program("promtool")
    for arguments in (
        ["check", "rules", root / "deploy/prometheus/alerts.yml"],
        ["check", "config", "--syntax-only", root / "deploy/prometheus/prometheus.yml"],
        ["test", "rules", root / "tests/deploy/alerts.test.yml"],
    ):
        done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, timeout=50)
        assert done.returncode == 0 and "FAILED" not in done.stdout + done.stderr, done.stdout + done.stderr


def test_every_alert_has_a_test(root: Path, alerts: list[dict[str, Any]]) -> None:
    tests = yaml.safe_load((root / "tests/deploy/alerts.test.yml").read_text())["tests"]
    tested = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert tested == {rule["alert"] for rule in alerts}


@pytest.mark.system
def test_debians_prometheus_fetches_the_figures_with_the_token(
    root: Path,
    program: Any,
    free_port: Any,
    serving: Any,
    running_program: Any,
    until: Any,
    tmp_path: Path,
    board: dict[str, Any],
    alerts: list[dict[str, Any]],
) -> None:
    management, own = free_port(), free_port()
    token = tmp_path / "metrics-token"
    token.write_text("another")
    text = (root / "deploy/prometheus/prometheus.yml").read_text()
    for written, ours in {
        "/secrets/metrics-token": str(token),
        "receiver:8081": f"localhost:{management}",
        "scrape_interval: 15s": "scrape_interval: 1s",
    }.items():
        assert text.count(written) == 1, written
        text = text.replace(written, ours)
    (tmp_path / "prometheus.yml").write_text(text)
    shutil.copy(root / "deploy/prometheus/alerts.yml", tmp_path)
    (tmp_path / "given").write_text(LOOK)
    config = '[management.auth]\ntokens = [{ name = "prometheus", file = "given", scopes = ["read"] }]\n'

    def ask(expression: str) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{own}/api/v1/query?{query}", timeout=20) as answer:
                told = json.load(answer)
        except ConnectionError as error:
            raise AssertionError(expression) from error
        assert told["status"] == "success", expression
        result: list[dict[str, Any]] = told["data"]["result"]
        return result

    def up(wanted: str) -> bool:
        try:
            return [row["value"][1] for row in ask('up{job="receiver"}')] == [wanted]
        except OSError:  # Prometheus is not there yet
            return False

    command = [program("prometheus"), "--config.file", tmp_path / "prometheus.yml", "--storage.tsdb.path"]
    command += [tmp_path / "data", "--web.listen-address", f"127.0.0.1:{own}"]
    with serving(config, management=management) as receiver:
        with running_program(command, tmp_path / "prometheus.log"):
            until(lambda: up("0"))  # the token is another one
            assert receiver.lines("management_refused")[0]["reason"] == "token_unknown"
            token.write_text(LOOK)
            until(lambda: up("1"))
            (limit,) = ask("receiver_streams_limit")
            assert float(limit["value"][1]) == 1000
            for expression in expressions(board, alerts):
                ask(expression)
