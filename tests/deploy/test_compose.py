"""``docker-compose.yml`` and its configuration: what they promise, and that they agree with the code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver.asgi.descriptors import PER_STREAM, SHARE
from receiver.config import Config
from receiver.config_file import load_config

ACTIVE_KIB = 256
"""The most that a live stream takes; measured it is a third of that."""
PROGRAM_MIB = 128
PROGRAM_THREADS = 64
"""Writer, makers of files, loops of sinks, what asyncio keeps for blocking calls: 12 after some calls, measured."""
PLAIN_SINKS = 4
"""Of a user's own, each with as many threads as it may have by default."""
OWN = "10001"


@pytest.fixture(scope="module")
def services(root: Path) -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((root / "docker-compose.yml").read_text())["services"]
    return told


@pytest.fixture(scope="module")
def config(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The mounted configuration, as the container reads it."""
    secret = tmp_path_factory.mktemp("secrets") / "metrics-token"
    secret.write_text("look-4711")
    text = (root / "deploy/receiver.toml").read_text()
    assert text.count("/secrets/metrics-token") == 1
    file = secret.with_name("config.toml")
    file.write_text(text.replace("/secrets/metrics-token", str(secret)))
    return load_config(file, {"RECEIVER_TOKEN": "a-token-of-the-tests"})


def mebibytes(text: str) -> int:
    return int(text[:-1]) * {"m": 1, "g": 1024}[text[-1]]


def test_a_container_has_the_descriptors_the_memory_and_the_threads_that_its_limits_ask_for(
    services: dict[str, Any], config: Config
) -> None:
    receiver, limits = services["receiver"], config.limits
    assert receiver["ulimits"]["nofile"] * SHARE >= limits.streams * PER_STREAM
    assert receiver["ulimits"]["nofile"] * (1 - SHARE) / 2 >= limits.handshakes
    assert services["caddy"]["ulimits"]["nofile"] >= 2 * (limits.streams + limits.handshakes)
    needed = (limits.feeds_bytes + limits.writer_bytes) / 2**20 + limits.streams * ACTIVE_KIB / 1024 + PROGRAM_MIB
    assert needed <= mebibytes(receiver["mem_limit"])
    threads = max(sink.threads for sink in config.sinks.values())
    assert PLAIN_SINKS * threads + PROGRAM_THREADS <= receiver["pids_limit"]


def test_the_receiver_is_stopped_before_caddy_through_which_calls_go_on(services: dict[str, Any]) -> None:
    """What depends on another is stopped first."""
    assert "caddy" in services["receiver"]["depends_on"]
    assert "depends_on" not in services["caddy"]


def test_only_caddy_is_reached_from_outside(services: dict[str, Any], config: Config) -> None:
    published = {name: service.get("ports", []) for name, service in services.items()}
    assert published.pop("caddy") == ["80:80", "443:443"]
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert published["receiver"] == published["prometheus"] == []
    assert not any("network_mode" in service for name, service in services.items() if name != "secrets")
    assert [token.scopes for token in config.management.auth.tokens] == [("read",)]


def test_prometheus_asks_for_the_receiver_by_a_name_and_a_port_that_it_has(root: Path, config: Config) -> None:
    (job,) = yaml.safe_load((root / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    name, _, port = target.partition(":")
    assert name in config.management.allowed_hosts and int(port) == config.management.port
    written = tomllib.loads((root / "deploy/receiver.toml").read_text())["management"]["auth"]["tokens"]
    assert [token["file"] for token in written] == [job["authorization"]["credentials_file"]]


def test_nothing_that_runs_may_do_more_than_it_has_to(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "caddy" else [])
        assert service.get("privileged") is None and service.get("user") is None
        assert service.get("read_only") is True or name == "grafana"
        if name != "secrets":
            assert "mem_limit" in service and service["restart"] == "unless-stopped"


def test_what_is_mounted_can_be_read_only_but_for_what_is_kept(root: Path, services: dict[str, Any]) -> None:
    for name, service in services.items():
        for volume in service.get("volumes", ()):
            source, target, *mode = volume.split(":")
            if source.startswith("./"):
                assert (root / source).exists() and mode == ["ro"], volume
            elif source == "secrets" and name != "secrets":
                assert (target, mode) == ("/secrets", ["ro"])
    mounted = dict(volume.split(":")[:2] for volume in services["receiver"]["volumes"])
    assert mounted["./my-sinks"] == "/my-sinks"  # beside /config.toml, so that use = "./my-sinks/…" finds it
    assert mounted["./deploy/receiver.toml"] == "/config.toml"


def test_recordings_go_where_something_can_be_written(services: dict[str, Any], config: Config) -> None:
    assert (
        str(config.recordings.directory)
        in dict(volume.split(":")[:2] for volume in services["receiver"]["volumes"]).values()
    )


def test_only_the_name_and_the_token_have_to_be_set(root: Path) -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+)", (root / "docker-compose.yml").read_text()))
    offered = dict(re.findall(r"^([A-Z_]+)=(.*)$", (root / ".env.example").read_text(), re.MULTILINE))
    assert asked == set(offered) == {"DOMAIN", "RECEIVER_TOKEN"}
    assert set(offered.values()) == {""}, "no secret is in the repository"


def test_the_secrets_are_made_once_readable_for_their_group_and_kept(
    root: Path, services: dict[str, Any], tmp_path: Path
) -> None:
    service = services["secrets"]
    (script,) = service["command"]
    script = script.replace("$$", "$").replace("/secrets", str(tmp_path))
    environment = {**os.environ, "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}"}

    def made() -> dict[str, str]:
        subprocess.run([*service["entrypoint"], script], env=environment, check=True, timeout=30)
        return {path.name: path.read_text().strip() for path in tmp_path.iterdir()}

    first = made()
    assert set(first) == {"metrics-token", "grafana-password"} and len(set(first.values())) == 2
    assert all(len(secret) >= 32 for secret in first.values())
    assert all(path.stat().st_mode & 0o777 == 0o640 for path in tmp_path.iterdir())
    assert made() == first
    assert f"\nUSER {OWN}:{OWN}\n" in (root / "Dockerfile").read_text()
    for name in ("prometheus", "grafana"):
        assert services[name]["group_add"] == [OWN]


def test_a_sink_of_the_users_folder_is_found_beside_the_configuration(
    root: Path, config: Config, tmp_path: Path
) -> None:
    """As the configuration suggests it, and in the places of the container."""
    text = (root / "deploy/receiver.toml").read_text().replace("# [sinks.mine]", "[sinks.mine]")
    text = text.replace('# use = "./my-sinks', 'use = "./my-sinks').replace("/secrets/", f"{tmp_path}/")
    (tmp_path / "metrics-token").write_text("look-4711")
    (tmp_path / "config.toml").write_text(text.replace('"/recordings"', '"recordings"'))
    (tmp_path / "my-sinks").mkdir()
    (tmp_path / "my-sinks/my_sink.py").write_text("async def sink(stream, events):\n    pass\n")
    checked = subprocess.run(
        [sys.executable, "-P", "-m", "receiver", "check"],
        cwd=tmp_path,
        env={**os.environ, "RECEIVER_TOKEN": "a-token-of-the-tests"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert checked.returncode == 0 and "mine" in checked.stdout, checked.stdout + checked.stderr


def test_nginx_waits_for_longer_than_the_receiver_is_silent(root: Path) -> None:
    """A quiet peer is pinged every ``ping_interval_s``, one that talks four times as seldom."""
    text = (root / "deploy/nginx/receiver.conf").read_text()
    for key in ("proxy_read_timeout", "proxy_send_timeout"):
        (limit,) = re.findall(rf"{key} (\d+)s;", text)
        assert int(limit) > 3 * 4 * Config().server.ping_interval_s


@pytest.mark.system
@pytest.mark.parametrize("profile", ["", "monitoring"])
def test_docker_compose_accepts_it(root: Path, program: Any, tmp_path: Path, profile: str) -> None:
    (tmp_path / ".env").write_text("DOMAIN=calls.example.com\nRECEIVER_TOKEN=a-token-of-the-tests\n")
    command = [program("docker-compose"), "--file", root / "docker-compose.yml", "--env-file", tmp_path / ".env"]
    command += ["--profile", profile] if profile else []
    environment = {name: value for name, value in os.environ.items() if name not in ("DOMAIN", "RECEIVER_TOKEN")}
    command = list(map(str, command))
    done = subprocess.run(
        [*command, "config", "--format", "json"], env=environment, capture_output=True, text=True, timeout=50
    )
    assert (done.returncode, done.stderr) == (0, "")
    read = json.loads(done.stdout)["services"]
    assert set(read) == {"receiver", "caddy", "secrets"} | ({"prometheus", "grafana"} if profile else set())
    assert read["caddy"]["environment"] == {"DOMAIN": "calls.example.com"}
    (tmp_path / ".env").write_text("DOMAIN=calls.example.com\n")
    refused = subprocess.run([*command, "config"], env=environment, capture_output=True, text=True, timeout=50)
    assert refused.returncode != 0 and "RECEIVER_TOKEN" in refused.stderr
