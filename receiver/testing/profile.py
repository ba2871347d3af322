"""A profile: what is particular about one plugin, for the conformance suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from receiver.testing.recorded import Recorded


class Profile:
    """The attributes of a suite. A fixture of the class may set them as well, e.g. to a path in ``tmp_path``."""

    use: Any = None
    """What ``use`` is in a configuration: a name, ``"./file.py"``, ``"package.module:attribute"``, or the object."""
    options: Mapping[str, Any] = {}
    wrong_options: Mapping[str, Any] = {}
    """Options with values that have to be refused, e.g. a model that is not there: each is tried alone."""
    parameters: Mapping[str, Any] = {}
    """Custom parameters of the streams, for a sink that needs some."""
    rate: int = 8000
    rates: Sequence[int] = (16000, 48000)
    """Others that it has to take: all that telephone platforms send are among these three."""
    seconds: float = 2.0
    """Of speech on each track of most streams."""
    finish_s: float = 20.0
    """How long it may take to return when the stream has ended."""
    blocks_s: float = 2.0
    """For how long it may keep its event loop from running: at 5 s the server calls it blocked."""
    repeatable: bool = True
    """Whether the same audio always makes the same files and annotations."""
    restarts: bool = False
    """Whether it works with ``on_error = "restart"``."""
    undeclared: Sequence[str] = ()
    """Patterns of files that it leaves in the stream's folder and does not declare."""

    def outcome(self, recorded: Recorded) -> Any:
        """What has to be the same each time, if it is repeatable: files by their content, and annotations."""
        told = recorded.told
        own = [file for file in told["files"] if file["sink"] != "captures"]
        said = sorted(told["annotations"], key=lambda note: (note["kind"], str(note["track"]), note["start"]))
        return [[file[key] for key in ("path", "kind", "media_type", "sha256")] for file in own], said
