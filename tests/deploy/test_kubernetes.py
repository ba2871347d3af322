"""The manifests of Kubernetes: by its own schemas, against our code, and with a receiver that runs as they say."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from receiver.config import Config, Limits, Server
from receiver.environment import override
from receiver.metrics import Metrics
from receiver.simulate import SPEECH, Call, Outcome, speak

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
FILES = sorted(path for path in FOLDER.rglob("*.yaml") if path.name != "adapter.yaml")
VERSIONS = ["1.30", kubernetes_validate.latest_version()]
SECRETS = {"token": "of-the-platforms", "metrics-token": "of-prometheus", "operator-token": "of-the-operator"}
MIB = 1024 * 1024


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def only(kind: str, name: str = "receiver") -> dict[str, Any]:
    found = [
        each for path in FILES for each in documents(path) if (each["kind"], each["metadata"]["name"]) == (kind, name)
    ]
    (manifest,) = found
    return manifest


def pod() -> dict[str, Any]:
    template: dict[str, Any] = only("StatefulSet")["spec"]["template"]
    return template


def container() -> dict[str, Any]:
    (one,) = pod()["spec"]["containers"]
    return dict(one)


def config_text() -> str:
    text: str = only("ConfigMap")["data"]["config.toml"]
    return text


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_manifest_is_one_by_the_schemas_of_kubernetes(path: Path, version: str) -> None:
    for manifest in documents(path):
        if manifest["apiVersion"] == "monitoring.coreos.com/v1":  # an operator's own kind, which has no schema there
            continue
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_key_that_is_none_would_be_found() -> None:
    planted = only("StatefulSet")
    planted["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(planted, VERSIONS[-1], strict=True)


def test_nothing_that_is_applied_with_the_folder_has_to_be_changed_by_everybody_first() -> None:
    """``kubectl apply -f`` takes a folder's own files: no secret, no host name, no kind that somebody may not have."""
    kinds = {each["kind"] for path in FOLDER.glob("*.yaml") for each in documents(path)}
    assert kinds == {
        "ConfigMap",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "StatefulSet",
    }


def test_the_example_of_a_secret_has_the_keys_that_are_read_and_no_value() -> None:
    example = only("Secret")["stringData"]
    read = set(re.findall(r"/run/secrets/receiver/([\w-]+)", config_text()))
    assert set(example) == read == set(SECRETS) and not any(example.values())


def test_every_selector_selects_the_pods() -> None:
    labels = pod()["metadata"]["labels"]
    selectors = [only("Service", name)["spec"]["selector"] for name in ("receiver", "receiver-management")]
    selectors += [only(kind)["spec"]["selector"]["matchLabels"] for kind in ("StatefulSet", "PodDisruptionBudget")]
    selectors.append(only("NetworkPolicy")["spec"]["podSelector"]["matchLabels"])
    selectors.append(pod()["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"])
    assert all(selector.items() <= labels.items() for selector in selectors)
    monitored = only("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert monitored.items() <= only("Service", "receiver-management")["metadata"]["labels"].items()
    assert not monitored.items() <= only("Service")["metadata"]["labels"].items()
    scaled = only("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) == ("StatefulSet", only("StatefulSet")["metadata"]["name"])
    assert only("StatefulSet")["spec"]["serviceName"] == only("Service", "receiver-management")["metadata"]["name"]


def test_the_ports_are_those_of_the_configuration_and_go_by_name_everywhere_else() -> None:
    config = Config.model_validate(tomllib.loads(config_text()), context={"environ": {}, "base": ROOT})
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert ports == {"public": config.server.port, "management": config.management.port}
    used = [
        port["targetPort"]
        for name in ("receiver", "receiver-management")
        for port in only("Service", name)["spec"]["ports"]
    ]
    used += [port["port"] for rule in only("NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]]
    used += [container()[f"{probe}Probe"]["httpGet"]["port"] for probe in ("startup", "liveness", "readiness")]
    assert set(used) == set(ports)
    assert only("ServiceMonitor")["spec"]["endpoints"][0]["port"] == "management"
    (path,) = only("Ingress")["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": "receiver", "port": {"name": "public"}}
    assert path["path"] == config.sources["default"].path


def test_readiness_is_noticed_before_the_shutdown_delay_is_over() -> None:
    ready = container()["readinessProbe"]
    assert ready["periodSeconds"] * ready["failureThreshold"] + ready["timeoutSeconds"] < Server().shutdown_delay_s


def test_a_quiet_stream_says_something_before_the_ingress_gives_it_up() -> None:
    annotations = only("Ingress")["metadata"]["annotations"]
    for way in ("read", "send"):
        assert int(annotations[f"nginx.ingress.kubernetes.io/proxy-{way}-timeout"]) > 4 * Server().ping_interval_s


def test_the_memory_is_enough_for_what_the_limits_allow() -> None:
    streams = tomllib.loads(config_text())["limits"]["streams"]
    limits, asked = Limits(), container()["resources"]["limits"]["memory"]
    assert asked == "1Gi"
    assert limits.feeds_bytes + limits.writer_bytes + streams * 256 * 1024 + 128 * MIB <= 1024 * MIB


def test_the_container_may_do_nothing_but_what_it_does() -> None:
    whole, own = pod()["spec"]["securityContext"], container()["securityContext"]
    assert whole["runAsNonRoot"] and whole["runAsUser"] > 9999 and whole["seccompProfile"]["type"] == "RuntimeDefault"
    assert own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"]
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert pod()["spec"]["automountServiceAccountToken"] is False
    writable = {each["mountPath"] for each in container()["volumeMounts"] if not each.get("readOnly")}
    assert writable == {tomllib.loads(config_text())["recordings"]["directory"], "/tmp"}


def test_recordings_are_never_deleted_with_a_pod() -> None:
    spec = only("StatefulSet")["spec"]
    assert set(spec["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["metadata"]["name"] in {each["name"] for each in container()["volumeMounts"]}


def test_the_image_has_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert container()["image"] == f"media-stream-receiver:{version}"


def test_the_autoscaler_goes_by_a_metric_that_the_adapter_makes_of_ours() -> None:
    (rule,) = yaml.safe_load((FOLDER / "prometheus" / "adapter.yaml").read_text())
    (metric,) = only("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    used = set(re.findall(r"receiver_\w+", rule["seriesQuery"] + rule["metricsQuery"]))
    metrics = Metrics(sources=["default"])
    metrics.watch_streams_limit(lambda: 400)
    series = set(re.findall(rb"^(receiver_\w+)", metrics.render()[0], re.MULTILINE))
    assert used == {"receiver_streams", "receiver_streams_limit"}
    assert used <= {name.decode() for name in series}


def test_every_variable_of_the_pod_is_a_key_of_the_configuration() -> None:
    variables = {each["name"]: each.get("value", "") for each in container()["env"] if each["name"] != "POD_IP"}
    assert set(override({}, Config, variables).values()) == set(variables)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The container's command with its configuration, secrets and variables, on free ports of the loopback."""
    (tmp_path / "secrets").mkdir()
    for name, value in SECRETS.items():
        (tmp_path / "secrets" / name).write_text(value)
    text = config_text().replace("/run/secrets/receiver", str(tmp_path / "secrets"))
    text = text.replace("/var/lib/receiver", str(tmp_path / "recordings")).replace(
        'host = "0.0.0.0"', 'host = "127.0.0.1"'
    )
    (tmp_path / "config.toml").write_text(text)
    program, *arguments = container()["command"]
    assert (program, arguments[-1]) == ("receiver", "/etc/receiver/config.toml")
    variables = {
        each["name"]: each["value"].replace("$(POD_IP)", "10.20.30.40")
        for each in container()["env"]
        if "value" in each
    }
    variables |= {name: value for name, value in os.environ.items() if name.startswith(("COVERAGE", "PATH"))}
    variables |= {
        "RECEIVER__SERVER__PORT": "0",
        "RECEIVER__MANAGEMENT__PORT": "0",
        "RECEIVER__SERVER__HOST": "127.0.0.1",
    }
    variables |= {"RECEIVER__LIMITS__BURST_S": "0", "RECEIVER__SERVER__SHUTDOWN_DELAY_S": "0"}
    command = [str(Path(sys.executable).with_name(program)), *arguments[:-1], str(tmp_path / "config.toml")]
    with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def status(url: str, token: str = "", host: str = "10.20.30.40:8081", method: str = "GET") -> int:
    headers = {"Host": host} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers, method=method), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_a_receiver_runs_as_the_manifests_say(running: subprocess.Popen[str], tmp_path: Path) -> None:
    assert running.stderr is not None
    told = (json.loads(text) for text in running.stderr)
    listening = next(said for said in told if said["event"] == "listening")
    for probe in ("startup", "liveness", "readiness"):
        asked = container()[f"{probe}Probe"]["httpGet"]["path"]
        assert status(listening["public"] + asked, host="10.20.30.40:8080") == 200

    figures = listening["management"] + only("ServiceMonitor")["spec"]["endpoints"][0]["path"]
    credentials = only("ServiceMonitor")["spec"]["endpoints"][0]["authorization"]["credentials"]
    assert status(figures, SECRETS[credentials["key"]]) == 200
    assert status(figures) == status(figures, SECRETS["token"]) == 401
    assert status(figures, SECRETS["metrics-token"], host="evil.example") == 400
    pausing = f"{listening['management']}/api/streams/none/pause"
    assert status(pausing, SECRETS["metrics-token"], method="POST") == 403
    assert status(pausing, SECRETS["operator-token"], method="POST") == 404

    def call(token: str) -> Outcome:
        url = listening["public"].replace("http", "ws", 1) + "/stream"
        return asyncio.run(speak(Call(inbound=SPEECH / "inbound.flac"), url=url, token=token, speed=1000))

    assert call(SECRETS["metrics-token"]).status == 401
    assert call(SECRETS["token"]).ok
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=30)
    assert running.returncode == 0
    assert list((tmp_path / "recordings").glob("*/*/inbound.wav"))
