"""The image, without Docker: the Dockerfile is read, its steps are run in roots of their own, and so is what it starts.

A root has the machine's folders, for reading, and a Python in ``/usr/local`` without compiled modules, as Docker's
official image has. What starts is the first process of a process namespace, as a user without a capability, where
nothing but the recordings can be written.
"""

from __future__ import annotations

import contextlib
import fnmatch
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import soundfile

IMAGE_PYTHON = (3, 13)
FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "usr", "var")
"""Of the machine, seen from within a root; ``/etc`` is copied, as users are added to it."""

TOKEN = "a-token-of-the-tests"


@dataclass
class Stage:
    """What follows a FROM."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def of(self, name: str) -> list[str]:
        return [said for instruction, said in self.steps if instruction == name]

    def one(self, name: str) -> str:
        (said,) = self.of(name)
        return said


@dataclass
class Dockerfile:
    """The instructions, continued lines joined and comments left out."""

    arguments: dict[str, str]
    stages: dict[str, Stage]


def read(path: Path) -> Dockerfile:
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    arguments, stages, stage = {}, {}, None
    for line in re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).splitlines():
        name, said = line.split(maxsplit=1)
        if name == "FROM":
            base, *named = said.split()
            stage = stages[named[1] if named else ""] = Stage(base)
        elif stage is None:
            assert name == "ARG"
            arguments.update([said.split("=", 1)])
        else:
            stage.steps.append((name, said))
    return Dockerfile(arguments, stages)


@pytest.fixture(scope="module")
def dockerfile(root: Path) -> Dockerfile:
    return read(root / "Dockerfile")


@pytest.fixture(scope="module")
def final(dockerfile: Dockerfile) -> Stage:
    return dockerfile.stages[""]


def sent(root: Path) -> list[Path]:
    """The files that ``docker build .`` sends, by the few kinds of patterns that we have; the last one rules."""
    patterns = [line for line in (root / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert patterns[0] == "*" and not [pattern for pattern in patterns if pattern.startswith("!.")]
    tops = [top for top in root.iterdir() if not top.name.startswith(".")]  # and no pattern lets one in that is hidden
    files = [file for top in tops for file in (top.rglob("*") if top.is_dir() else [top]) if file.is_file()]
    chosen = []
    for name in (str(file.relative_to(root)) for file in files):
        ignored = True
        for pattern in patterns[1:]:
            kept, bare = pattern.startswith("!"), pattern.lstrip("!")
            parts = [name, *map(str, Path(name).parents)]
            if bare.startswith("**/"):
                matches = any(fnmatch.fnmatchcase(part, bare[3:]) for part in Path(name).parts)
            else:
                matches = bare in parts
            if matches:
                ignored = not kept
        if not ignored:
            chosen.append(Path(name))
    return chosen


def test_nothing_but_what_is_copied_is_sent(root: Path, dockerfile: Dockerfile) -> None:
    names = {str(path) for path in sent(root)}
    assert {"pyproject.toml", "LICENSE", "requirements/image.txt", "receiver/__init__.py", "plugins/py.typed"} <= names
    copied = {word for step in dockerfile.stages["build"].of("COPY") for word in step.split()[:-1]}
    assert {name if "/" not in name or name in copied else name.split("/")[0] for name in names} == copied
    assert not [name for name in names if name.endswith(".pyc")]


def test_everything_comes_from_hashed_locks(dockerfile: Dockerfile) -> None:
    for stage in dockerfile.stages.values():
        for step in stage.of("RUN"):
            for command in step.split("&&"):
                words = command.split()
                if "install" in words and any(word.endswith("pip") for word in words):
                    assert "--require-hashes" in words or words[-2:] == ["--no-deps", "dist/*.whl"], command
                assert not {"curl", "wget", "ADD"} & set(words)


def test_no_codec_under_the_gpl_is_in_it(root: Path, final: Stage) -> None:
    locked = re.findall(r"^([a-z0-9-]+)==", (root / "requirements/image.txt").read_text(), re.MULTILINE)
    assert {"numpy", "g722", "pocketsphinx"} <= set(locked)
    assert not {"av", "faster-whisper", "imageio-ffmpeg", "pytest"} & set(locked)
    assert re.findall(r"--no-install-recommends (.*?) &&", " ".join(final.of("RUN"))) == ["libopus0"]


def test_no_package_in_it_says_that_it_is_under_the_gpl(root: Path) -> None:
    locked = re.findall(r"^([a-z0-9-]+)==", (root / "requirements/image.txt").read_text(), re.MULTILINE)
    told = {}
    for name in locked:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # there are none of all for this Python
            about = importlib.metadata.metadata(name)
            told[name] = " ".join(
                [about.get("License-Expression", ""), about.get("License", "")[:100], *about.get_all("Classifier", [])]
            )
    assert len(told) > 20 and "LGPL" in told["soxr"]
    assert [name for name, said in told.items() if re.search(r"(?<!L)GPL|(?<!Lesser )General Public", said)] == []


def test_it_runs_as_a_user_with_a_number_and_signals_reach_it(dockerfile: Dockerfile, final: Stage) -> None:
    user, group = final.one("USER").split(":")
    assert int(user) > 999 and int(group) > 999
    assert f"--uid {user}" in " ".join(final.of("RUN")) and f"--gid {group}" in " ".join(final.of("RUN"))
    assert json.loads(final.one("ENTRYPOINT")) == ["receiver"] and json.loads(final.one("CMD")) == ["serve"]
    assert final.one("STOPSIGNAL") == "SIGTERM"
    for stage in dockerfile.stages.values():
        assert stage.base == "${BASE}"
    assert re.fullmatch(r"python:3\.13-slim-[a-z]+", dockerfile.arguments["BASE"])


def test_the_python_of_the_image_is_the_one_of_its_lock(root: Path, dockerfile: Dockerfile) -> None:
    (version,) = re.findall(r"python:(\d+\.\d+)", dockerfile.arguments["BASE"])
    recipe = (root / "Makefile").read_text()
    assert f"--python-version {version} --extra g722 --extra transcribe " in recipe and IMAGE_PYTHON == tuple(
        map(int, version.split("."))
    )
    classifiers = tomllib.loads((root / "pyproject.toml").read_text())["project"]["classifiers"]
    assert f"Programming Language :: Python :: {version}" in classifiers


@pytest.mark.system
def test_hadolint_finds_nothing(root: Path, program: Any) -> None:
    done = subprocess.run([program("hadolint"), root / "Dockerfile"], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.system
def test_the_packages_of_debian_exist(final: Stage) -> None:
    (packages,) = re.findall(r"apt-get install .*?--no-install-recommends (.*?) &&", " ".join(final.of("RUN")))
    for package in packages.split():
        policy = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, timeout=50).stdout
        assert "Candidate: " in policy and "Candidate: (none)" not in policy, package


# The steps, run.


class Root:
    """A root file system, and commands in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
        self.folder = "/"
        # How this machine reaches its index is no part of the image.
        self.outside = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        for name in ("etc", "usr", "proc", "dev", "tmp", "opt", "root"):
            (path / name).mkdir(parents=True)
        mounts = ["set -eu", f"root={shlex.quote(str(path))}"]

        def bind(name: Path) -> None:
            (path / name.relative_to("/")).mkdir(exist_ok=True)
            mounts.append(f"mount --bind {name} $root{name} && mount -o remount,bind,ro $root{name}")

        for name in FOLDERS:
            machine = Path("/", name)
            if machine.is_symlink():
                (path / name).symlink_to(machine.readlink())
            elif name == "usr":
                for inner in sorted(machine.iterdir()):
                    if inner.is_dir() and not inner.is_symlink() and inner.name != "local":
                        bind(inner)
            elif machine.is_dir():
                bind(machine)
        for inner in sorted(Path("/opt").iterdir()):
            if inner.is_dir():
                bind(inner)
        mounts.append("mount --rbind /dev $root/dev")
        self._mounts = "\n".join(mounts)
        subprocess.run(["cp", "-a", "/etc/.", path / "etc"], check=True, timeout=50)
        self._place_python(path / "usr/local")

    def _place_python(self, place: Path) -> None:
        """As in Docker's official image: ``python`` and ``pip`` in /usr/local, nothing compiled, no tests."""
        minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
        library = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix, "base": sys.base_prefix}))
        unwanted = shutil.ignore_patterns("test", "tests", "__pycache__", "idlelib", "site-packages", "config-*", "*.a")
        shutil.copytree(library, place / "lib" / f"python{minor}", ignore=unwanted)
        (place / "bin").mkdir()
        shutil.copy(Path(sys._base_executable).resolve(), place / "bin" / f"python{minor}")  # type: ignore[attr-defined]
        for shared in Path(sys.base_prefix, "lib").glob("libpython*.so*"):
            shutil.copy(shared, place / "lib")
        for name in ("python", "python3"):
            (place / "bin" / name).symlink_to(f"python{minor}")
        installed = importlib.util.find_spec("pip")
        assert installed is not None and installed.origin is not None
        packages = place / "lib" / f"python{minor}" / "site-packages"
        shutil.copytree(Path(installed.origin).parent, packages / "pip", ignore=unwanted)
        (place / "bin" / "pip").write_text('#!/bin/sh\nexec python -m pip "$@"\n')
        (place / "bin" / "pip").chmod(0o755)
        self.run("ldconfig || true")  # what it remembers for the next time cannot be written

    def run(self, command: str) -> None:
        """As root, like a RUN."""
        inner = f"cd {self.folder} && {command}"
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", f'{self._mounts}\nexec chroot $root sh -c "$1"', "sh", inner],
            env={**self.outside, **self.environment},
            capture_output=True,
            text=True,
            timeout=150,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"

    def start(self, command: list[str], user: str, environment: dict[str, str]) -> list[str]:
        """What starts this as a container does: process 1, read-only but for recordings and /tmp, loopback only."""
        mounts = [
            'mount --bind "$1" "$1"',
            self._mounts,
            "mount --bind $root/recordings $root/recordings",
            "mount -t tmpfs -o size=64m tmpfs $root/tmp",
            "mount -t proc proc $root/proc",
            "mount -o remount,bind,ro $root",
            f"{shlex.quote(sys.executable)} -c {shlex.quote(LOOPBACK_UP)}",
            'shift; exec chroot $root "$@"',
        ]
        away = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
        inner = self.as_user(command, user, environment)
        return [*away, "sh", "-euc", "\n".join(mounts), "sh", str(self.path), *inner]

    def enter(self, process: int, command: list[str], user: str, environment: dict[str, str]) -> list[str]:
        """What runs a command beside what was started, as ``docker exec`` does."""
        inside = ["nsenter", "--target", str(process), "--mount", "--net", "--pid", "--root", "--wd"]
        return [*inside, *self.as_user(command, user, environment)]

    def as_user(self, command: list[str], user: str, environment: dict[str, str]) -> list[str]:
        """Without what root may do, and without a way to get it back: cap_drop ALL, no-new-privileges."""
        uid, gid = user.split(":")
        dropped = ["--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
        given = [f"{name}={value}" for name, value in {**self.environment, **environment}.items()]
        return ["setpriv", "--reuid", uid, "--regid", gid, *dropped, "env", "-i", *given, *command]

    def take(self, stage: Stage, roots: dict[str, Root], context: Path) -> None:
        """Every step, but what fetches Debian's packages: the machine's are there already."""
        for instruction, said in stage.steps:
            if instruction == "RUN" and "apt-get" not in said:
                self.run(said)
            elif instruction == "WORKDIR":
                self.folder = said
                self._below(said).mkdir(exist_ok=True)
            elif instruction == "ENV":
                for word in shlex.split(said):
                    name, _, value = word.partition("=")
                    self.environment[name] = value.replace("$PATH", self.environment["PATH"])
            elif instruction == "COPY":
                *sources, target = [word for word in said.split() if not word.startswith("--")]
                origin = roots[said.partition("--from=")[2].split()[0]].path if "--from=" in said else context
                self._copy([origin / source.lstrip("/") for source in sources], target)

    def _below(self, name: str) -> Path:
        return self.path / self.folder.lstrip("/") / name if not name.startswith("/") else self.path / name.lstrip("/")

    def _copy(self, sources: list[Path], target: str) -> None:
        """A folder's contents, or files into a folder."""
        for source in sources:
            place = self._below(target)
            if source.is_dir():
                shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
            else:
                place.mkdir(exist_ok=True)
                shutil.copy2(source, place)


LOOPBACK_UP = """
import fcntl, socket, struct
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
fcntl.ioctl(socket.socket(), SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
"""


@pytest.fixture(scope="module")
def image(root: Path, dockerfile: Dockerfile, tmp_path_factory: pytest.TempPathFactory) -> Root:
    """The root of the last stage, after every step of all stages."""
    folder = tmp_path_factory.mktemp("image")
    context = folder / "context"
    for name in sent(root):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, context / name)
    roots: dict[str, Root] = {}
    for name, stage in dockerfile.stages.items():
        roots[name] = Root(folder / f"root-{name}")
        roots[name].take(stage, roots, context)
    return roots[""]


@pytest.mark.system
@pytest.mark.timeout(240)
@pytest.mark.skipif(os.geteuid() != 0, reason="roots are mounted, which takes root")
@pytest.mark.skipif(sys.version_info[:2] != IMAGE_PYTHON, reason="the lock is for the Python of the image")
def test_what_the_steps_make_receives_calls_read_only_and_ends_when_it_is_told(
    root: Path, image: Root, final: Stage, running_program: Any, until: Any, tmp_path: Path
) -> None:
    user, start = final.one("USER"), json.loads(final.one("ENTRYPOINT")) + json.loads(final.one("CMD"))
    health = json.loads(final.one("HEALTHCHECK").partition(" CMD ")[2])
    environment = {"RECEIVER_TOKEN": TOKEN, "RECEIVER__SERVER__SHUTDOWN_DELAY_S": "0"}
    log = tmp_path / "log"

    def inside(command: list[str]) -> subprocess.CompletedProcess[str]:
        entering = image.enter(first, command, user, {"RECEIVER_TOKEN": TOKEN})
        return subprocess.run(entering, capture_output=True, text=True, timeout=50)

    with running_program(image.start(start, user, environment), log) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until(lambda: process.poll() is not None or '"listening"' in log.read_text(), 60)
        assert process.poll() is None, log.read_text()
        first = int(children.read_text())
        assert inside(health).returncode == 0
        for place in ("/here", "/opt/receiver/here", "/usr/local/here", "/etc/here"):
            assert "Read-only" in inside(["touch", place]).stderr, place
        status = inside(["cat", "/proc/1/status"]).stdout
        uid = user.partition(":")[0]
        assert re.search(rf"^Uid:\t{uid}\t{uid}\t", status, re.MULTILINE) and "CapBnd:\t0000000000000000" in status
        listed = inside(["receiver", "sinks"]).stdout
        points = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"]["receiver.sinks"]
        assert all(name in listed for name in points) and "error" not in listed.lower(), listed
        assert inside(["python", "-c", "import G722, pocketsphinx"]).returncode == 0
        call = ["receiver", "call", "--to", "ws://127.0.0.1:8080/stream", "--codec", "OPUS", "--speed", "20"]
        called = inside(call)
        assert called.returncode == 0, called.stdout + called.stderr + log.read_text()
        os.kill(first, signal.SIGTERM)
        assert process.wait(30) == 0
        (recorded,) = (image.path / "recordings").glob("*/*/inbound.wav")
        assert soundfile.info(recorded).duration == pytest.approx(21, abs=0.1)
    assert not list((image.path / "opt/receiver").glob("lib/python*/site-packages/pip*")), "what builds stays behind"
    lonely = subprocess.run(image.start(health, user, {}), capture_output=True, timeout=50)
    assert lonely.returncode == 1, "a health check that reaches nobody fails"
    modules = dict(compiled(image.path / "opt/receiver/lib")) | dict(compiled(image.path / "usr/local/lib"))
    left = [module for module, done in modules.items() if not done]
    assert len(modules) > 1000 and not left


def compiled(folder: Path) -> Iterator[tuple[Path, bool]]:
    """The modules of a folder, each with whether it was compiled for good: PEP 552, unchecked hash."""
    for module in sorted(folder.rglob("*.py")):
        cache = module.parent / "__pycache__" / f"{module.stem}.{sys.implementation.cache_tag}.pyc"
        yield module, cache.exists() and cache.read_bytes()[4:8] == b"\1\0\0\0"
