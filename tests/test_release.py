"""``make release`` insists on being the release that a tag says. What it builds and tries is seen when it is run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """As much of the repository as is looked at before anything is built, committed."""
    for name in ("pyproject.toml", "CHANGELOG.md", "scripts/release.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    me = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *me, *arguments], cwd=folder, check=True, capture_output=True, timeout=30)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "x")


def released(folder: Path, tag: str) -> tuple[int, str]:
    programs = str(Path(sys.executable).parent)
    done = subprocess.run(
        [folder / "scripts" / "release.sh", programs, programs],
        env={**os.environ, "RELEASE_TAG": tag},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert not (folder / "dist").exists()
    return done.returncode, done.stderr


def test_a_tag_of_another_version_is_not_released(project: Path) -> None:
    said = f"make release: the tag is v9.9.9, and pyproject.toml says {VERSION}\n"
    assert released(project, "v9.9.9") == (1, said)
    assert released(project, VERSION)[0] == 1


def test_a_version_without_a_date_or_a_heading_is_not_released(project: Path) -> None:
    changes = project / "CHANGELOG.md"
    changes.write_text(f"## [{VERSION}] - Unreleased\n")
    assert "does not say when" in released(project, f"v{VERSION}")[1]
    changes.write_text("# Changelog\n")
    assert "has no heading for" in released(project, f"v{VERSION}")[1]


def test_what_is_not_committed_is_not_released(project: Path) -> None:
    (project / "CHANGELOG.md").write_text(f"## [{VERSION}] - 2026-12-01\n")
    commit(project)
    (project / "left.py").touch()
    assert released(project, f"v{VERSION}") == (1, "make release: something is not committed\n")
