"""The harness of the conformance suite: plays scenes to the plugin of a test, and says what it did wrong."""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from receiver.config import SinkConfig
from receiver.errors import ConfigError
from receiver.events import Cause
from receiver.recordings import journal, stream_json
from receiver.recordings.ledger import FileEntry
from receiver.sinks.loading import Loaded, load
from receiver.testing.recorded import Recorded
from receiver.testing.running import prepared
from receiver.testing.scene import Scene, speech
from receiver.testing.stage import Stage, staged

if TYPE_CHECKING:
    from receiver.testing.profile import Profile

T = TypeVar("T")

CONTRACT = "docs/writing-a-sink.md of media-stream-receiver"

OWN_FILES = {stream_json.NAME, journal.NAME}
BUFFER_S = 3600.0
OPEN_S = 60.0

ROUNDING_S = 0.02
"""By how much an annotation may end behind the audio: samples at another rate, and blocks that were filled up."""


class Harness:
    """What the tests of one suite work with. ``fail`` makes the error that a test raises."""

    def __init__(self, suite: Profile, rule: str, folder: Path, base: Path, name: str, config: SinkConfig):
        self.suite = suite
        self.folder = folder
        self.name = name
        self.use = config.use
        self._rule = " ".join(rule.split())
        self.base = base
        self.options = dict(config.options)

    def fail(self, problem: str) -> BaseException:
        """What is to be raised: what is wrong in words, and the rule. No traceback, which would be ours."""
        import pytest  # nobody needs it before a test runs

        said = f"The sink {self.name} {problem}\n\nThe rule: {self._rule}\nThe contract: {CONTRACT}"
        return pytest.fail.Exception(said, pytrace=False)

    def skip(self, reason: str) -> NoReturn:
        """Leave a test out that is not for this plugin."""
        import pytest

        pytest.skip(reason)

    # Loading

    def load(self, more: Mapping[str, Any] | None = None) -> Loaded:
        """The plugin with its options and others over them. Raises ConfigError."""
        options = {**self.options, **(more or {})}
        return self.bounded(lambda: load(self.name, self.use, options, self.base), OPEN_S, "could not be imported")

    def bounded(self, function: Callable[[], T], within_s: float, problem: str) -> T:
        """Call a function in a thread that nobody has to wait for. What it raises is raised."""
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(function())
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=run, name="conformance", daemon=True).start()
        try:
            return answer.result(within_s)
        except TimeoutError:
            if answer.done():  # its own
                raise
            raise self.fail(f"{problem} within {within_s:g} s") from None

    def check(self, loaded: Loaded) -> list[str]:
        """What the plugin's own check says."""
        return self.bounded(lambda: asyncio.run(loaded.check()), OPEN_S, "has a check that does not come back")

    # Playing

    def scene(self, what: str = "a stream of two tracks", **said: Any) -> Scene:
        """An empty scene with this suite's rate and parameters."""
        scene = Scene(what, **{"rate": self.suite.rate, **said})
        scene.parameters = self.suite.parameters
        return scene

    def speech(self, what: str = "a stream of two tracks", *, rate: int | None = None, **said: Any) -> Scene:
        """A scene in which both sides speak; ``sizes`` are those of the frames."""
        sizes = said.pop("sizes", (160,))
        scene = self.scene(what, **said, rate=rate or self.suite.rate)
        for track, samples in speech(scene.rate, self.suite.seconds).items():
            scene.audio(track, samples, sizes)
        return scene

    def gaps(self) -> Scene:
        """A scene with gaps at the beginning, between frames, one after another, and at the end."""
        scene = self.scene("a stream with gaps of every cause")
        for track, samples in speech(scene.rate, self.suite.seconds).items():
            third = len(samples) // 3
            scene.gap(track, 0.3).audio(track, samples[:third]).gap(track, 0.04, Cause.LOST)
            scene.gap(track, 0.02, Cause.REJECTED).audio(track, samples[third : 2 * third])
            scene.gap(track, 1.5, Cause.PAUSED).gap(track, 0.5, Cause.DROPPED)
            scene.audio(track, samples[2 * third :]).gap(track, 0.7)
        return scene

    @asynccontextmanager
    async def open(
        self, place: str = "played", *, loaded: Loaded | None = None, **settings: Any
    ) -> AsyncIterator[Stage]:
        """The plugin, opened; what it makes is in this folder of the test's own."""
        root = self.folder / place
        if loaded is None:
            loaded = await asyncio.to_thread(self.load)
        await asyncio.to_thread(root.mkdir, exist_ok=True)
        bounds = {"buffer_s": BUFFER_S, "finish_timeout_s": self.suite.finish_s}
        async with staged(loaded, root, **{**bounds, **settings}) as stage:
            yield stage

    def run(self, scenario: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a scenario in an event loop of its own."""
        return asyncio.run(scenario())

    def play(self, *scenes: Scene, place: str = "played", **settings: Any) -> list[Recorded]:
        """Play scenes, one after the other; the sink has to come to its end with each of them."""

        async def scenario() -> list[Recorded]:
            async with self.open(place, **settings) as stage:
                return [self.ended_well(await stage.play(scene), scene) for scene in scenes]

        return self.run(scenario)

    # Judging

    def ended(self, recorded: Recorded, scene: Scene) -> Recorded:
        """The same recording, unless the sink did not end, in whichever way."""
        if self.name not in recorded.told["sinks"]:
            self.skip("this plugin has no sink")
        sink = recorded.told["sinks"][self.name]
        if sink["status"] == "running":
            raise self.left_behind(scene)
        return recorded

    def left_behind(self, scene: Scene) -> BaseException:
        """The failure of a sink that does not even end when it is cancelled."""
        return self.fail(
            f"did not end when it was cancelled, and was left behind: {scene.what}. "
            "Does it swallow CancelledError, block its loop, or wait in a thread for something that never comes?"
        )

    def ended_well(self, recorded: Recorded, scene: Scene) -> Recorded:
        """The same recording, unless the sink raised or had to be cancelled."""
        sink = self.ended(recorded, scene).told["sinks"][self.name]
        if sink["status"] == "failed":
            raise self.fail(f"raised {sink['error']}: {scene.what}")
        if sink["status"] == "cancelled":
            raise self.fail(
                f"had not returned {self.suite.finish_s:g} s after the end of the stream, and was cancelled: "
                f"{scene.what}"
            )
        return recorded

    def files_are_right(self, recorded: Recorded) -> None:
        """Raise unless every file in the folder is declared, there, and as it was when it was measured."""
        declared = {file["path"]: file for file in recorded.told["files"] if file["sink"] == self.name}
        for path in sorted(recorded.folder.rglob("*")):
            name = path.relative_to(recorded.folder).as_posix()
            allowed = name in OWN_FILES or any(fnmatch(name, pattern) for pattern in self.suite.undeclared)
            if path.is_file() and name not in declared and not allowed:
                raise self.fail(f"left {name} in the stream's folder, and has not declared it with stream.add_file")
        for name, file in declared.items():
            now = stream_json.measure(recorded.folder, FileEntry(name, "", "", ""))
            if now.bytes is None:
                raise self.fail(f"declared {name}, and there is no such file")
            if now.sha256 != file["sha256"]:
                raise self.fail(f"changed {name} after it had declared it as finished")
            if not all(file["media_type"].partition("/")[::2]):
                raise self.fail(f"declared {name} with {file['media_type']!r}, which is no media type like audio/wav")

    def spans_are_right(self, recorded: Recorded, scene: Scene) -> None:
        """Raise unless every annotation lies within the audio, on a track that there is."""
        for said in recorded.annotations:
            if said["sink"] != self.name:
                continue
            what = f"annotated {said['kind']!r} from {said['start']} to {said['end']} at {said['rate']} Hz"
            track = scene.counters.get(said["track"])
            if said["track"] is not None and track is None:
                raise self.fail(f"{what}, on a track {said['track']!r} that the stream does not have: {scene.what}")
            end_s = scene.seconds if track is None else track.length / track.rate
            if said["end"] / said["rate"] > end_s + ROUNDING_S:
                raise self.fail(f"{what}, and the audio ends at {end_s:.3f} s: {scene.what}. Is it the right rate?")

    def same(self, first: Recorded, other: Recorded, how: str) -> None:
        """Raise unless two recordings are the same to the suite."""
        before, after = self.suite.outcome(first), self.suite.outcome(other)
        if not alike(before, after):
            raise self.fail(f"made something else {how}:\n{_shown(before)}\n{_shown(after)}")


@contextmanager
def harness(suite: Profile, rule: str, folder: Path, base: Path) -> Iterator[Harness]:
    """The harness of one test. Raises ConfigError where ``use`` or ``options`` cannot be in a configuration."""
    use = _found_by_name(suite)
    with prepared(folder, [{"use": use, "options": dict(suite.options)}], base, {}) as (config, _):
        ((name, sink),) = config.sinks.items()
        yield Harness(suite, rule, folder, base, name, sink)


def _found_by_name(suite: Profile) -> Any:
    """What the suite says as ``use``. A function is not to become a method, and is named where that finds it."""
    use = vars(suite).get("use", inspect.getattr_static(type(suite), "use"))
    use = getattr(use, "__func__", use) if isinstance(use, staticmethod) else use
    if use is None:
        raise ConfigError("use", f"{type(suite).__name__} does not say which sink it is for: use = ...")
    module, name = getattr(use, "__module__", None), getattr(use, "__qualname__", None)
    if module and name and getattr(sys.modules.get(module), name, None) is use:
        return f"{module}:{name}"  # so that a check beside it is found as well
    return use


def alike(one: Any, other: Any) -> bool:
    """Whether two values of JSON are equal, numbers but for rounding."""
    if isinstance(one, float | int) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-6)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


def tree(folder: Path) -> dict[str, bytes]:
    """The files below a folder, by their names there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) < 2000 else text[:2000] + " …"
