"""Rules of a plugin: its options and check, opening and closing, records, and recovery."""

from __future__ import annotations

import asyncio
import inspect
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from receiver import files
from receiver.errors import ConfigError
from receiver.recordings import journal, recover, stream_json
from receiver.records import Refused
from receiver.simulate import Outcome
from receiver.sinks.loading import Loaded
from receiver.sinks.options import describe_options
from receiver.stream import Stream
from receiver.testing.footprint import Footprint, grown_since
from receiver.testing.harness import OWN_FILES, Harness, tree
from receiver.testing.profile import Profile
from receiver.testing.recorded import Recorded
from receiver.testing.scene import Unheard

SETTLE_S = 5.0
"""How long what a plugin has closed may take to be gone."""

DID_NOT_CLOSE = ("sink_did_not_close", "sink_close_failed", "records_failed", "sink_loop_left_behind")


class PluginRules(Profile):
    """A plugin in the process."""

    def test_its_check_finds_nothing_and_does_nothing(self, sink_harness: Harness) -> None:
        """A check says what is wrong with the options, never serves, and leaves nothing behind.

        (Options, and what is shared by all streams)
        """
        h = sink_harness
        loaded = h.load()
        if not _has_check(loaded):
            h.skip("this plugin has no check")
        if said := h.check(loaded):
            raise h.fail(f"has a check that finds fault with the options of this test: {'; '.join(said)}")
        before, files_before = Footprint.now(), tree(h.folder)
        h.check(loaded)
        left = grown_since(before, SETTLE_S)
        left += sorted(name for name, content in tree(h.folder).items() if files_before.get(name) != content)
        if left:
            raise h.fail(f"has a check that leaves something behind: {', '.join(left)}")

    def test_every_option_has_a_type_that_is_checked(self, sink_harness: Harness) -> None:
        """The hints are checked before anything starts, and a wrong option is named.

        (Options, and what is shared by all streams)
        """
        h = sink_harness
        factory = h.load().factory
        for option in describe_options(factory):
            if inspect.signature(factory).parameters[option.name].annotation is inspect.Parameter.empty:
                raise h.fail(f"has an option {option.name} without a type: nothing checks what is given")
            if option.type not in ("Any", "object"):
                try:
                    h.load({option.name: object()})
                except ConfigError as error:
                    if error.key.startswith(f"sinks.{h.name}.options.{option.name}"):
                        continue
                raise h.fail(f"takes anything as its option {option.name}: the type {option.type} refuses nothing")

    def test_wrong_options_are_refused_by_their_names(self, sink_harness: Harness) -> None:
        """An option that cannot work stops the start, or is found by check, and is named.

        (Options, and what is shared by all streams)
        """
        h = sink_harness
        if not self.wrong_options:
            h.skip("this suite has no wrong_options")
        for option, value in self.wrong_options.items():
            problem = _refusal(h, option, value)
            if problem is None:
                raise h.fail(f"starts with a wrong value of its option {option}, and its check does not tell either")
            if not re.search(rf"\b{option}\b", problem):
                raise h.fail(f"refuses a wrong value of its option {option} without naming it: {problem}")

    def test_it_can_be_opened_twice_at_once(self, sink_harness: Harness) -> None:
        """A plugin may be configured twice, with other options each: it shares nothing.

        (Options, and what is shared by all streams)
        """
        h, scene = sink_harness, sink_harness.speech("a stream of a plugin that was opened twice")

        async def scenario() -> None:
            async with h.open("second") as second:
                async with h.open("first") as first:
                    h.ended_well(await first.play(scene), scene)
                recorded = await second.play(scene)
                sink = recorded.told["sinks"][h.name]
                if sink["status"] == "failed":
                    raise h.fail(f"works no longer where another one of it was closed: it raised {sink['error']}")
                h.ended_well(recorded, scene)

        h.run(scenario)

    def test_it_closes_in_time(self, sink_harness: Harness) -> None:
        """Behind the yield a plugin has 5 s, and raises nothing (What happens if …)."""
        h, scene = sink_harness, sink_harness.speech()

        async def scenario() -> list[str]:
            async with h.open() as stage:
                h.ended(await stage.play(scene), scene)
            return [line for line in stage.log if line.startswith(DID_NOT_CLOSE)]

        if said := h.run(scenario):
            raise h.fail(f"did not close as it should: {'; '.join(said)}")

    def test_it_leaves_nothing_behind(self, sink_harness: Harness) -> None:
        """What was opened is closed behind the yield: no task, thread, descriptor or process stays.

        (Options, and what is shared by all streams)
        """
        h, scene = sink_harness, sink_harness.speech()

        async def scenario(place: str) -> list[str]:
            async with h.open(place) as stage:
                h.ended_well(await stage.play(scene), scene)
            return stage.observed.tasks

        h.run(partial(scenario, "first"))  # what a library keeps for good, it has after this
        before = Footprint.now()
        tasks = h.run(partial(scenario, "second"))
        left = [f"the task {task}" for task in tasks] + grown_since(before, SETTLE_S)
        if left:
            raise h.fail(f"left behind when it was closed: {', '.join(left)}")

    def test_it_recovers_what_a_crash_has_left(self, sink_harness: Harness) -> None:
        """What a crash left of a stream, recover finishes; done twice, it changes nothing.

        (Options, and what is shared by all streams)
        """
        h, scene = sink_harness, sink_harness.speech("a stream that a crash has ended")

        async def scenario() -> None:
            async with h.open("live") as stage:
                recoverers = dict(stage.hub.recoverers())
                if not recoverers:
                    h.skip("this plugin has no recover")
                stream = await stage.begin(scene)
                await stage.publish(stream, scene, upto=0.7)
                stream.progress(scene.counters)
                await stage.taken(stream)
                await asyncio.to_thread(_written)
                left = await asyncio.to_thread(shutil.copytree, stream.directory, h.folder / "crashed" / scene.id)
                h.ended_well(await stage.end(stream, scene), scene)
                again = (left / journal.NAME).read_bytes()
                first = await asyncio.to_thread(_recovered, h, stage.log, recoverers, left, again)
                h.files_are_right(first)
                before = {**_content(first), stream_json.NAME: first.told["files"]}
                second = await asyncio.to_thread(_recovered, h, stage.log, recoverers, left, again)
                after = {**_content(second), stream_json.NAME: second.told["files"]}
                if changed := [name for name in {*before, *after} if before.get(name) != after.get(name)]:
                    raise h.fail(f"made something else when recover was called again: {', '.join(sorted(changed))}")

        h.run(scenario)

    def test_it_takes_records_of_every_kind(self, sink_harness: Harness) -> None:
        """Records are facts of the whole process, and more kinds may come.

        (Options, and what is shared by all streams)
        """
        h, scene = sink_harness, sink_harness.speech()

        async def scenario() -> list[str]:
            async with h.open() as stage:
                if stage.observed.opened.records is None:
                    h.skip("this plugin reads no records")
                stage.hub.records(Refused("conformance", "token", 401, "127.0.0.1"))
                stage.hub.records(Unheard(0, scene.rate))  # type: ignore[arg-type]  # a kind that may come
                if stage.observed.opened.sink is not None:
                    h.ended_well(await stage.play(scene), scene)
                stage.hub.flush()
            return [line for line in stage.log if line.startswith("records_failed")]

        if said := h.run(scenario):
            raise h.fail(f"failed on a record: {'; '.join(said)}")


def _written() -> None:
    """Wait until what was handed to the writer thread is on the disk, as after a crash it would be."""
    files.shutdown()


def _recovered(
    h: Harness, log: list[str], recoverers: dict[str, Callable[[Stream], None]], folder: Path, said: bytes
) -> Recorded:
    """What a recovery makes of a crashed stream's folder; ``said`` is its journal."""
    (folder / journal.NAME).write_bytes(said)
    log.clear()
    h.bounded(lambda: recover(folder.parent, recoverers), h.suite.finish_s, "has a recover that does not come back")
    if failed := [line for line in log if line.startswith("sink_not_recovered")]:
        raise h.fail(f"raised in recover: {'; '.join(failed)}")
    return Recorded.read(folder, Outcome())


def _content(recorded: Recorded) -> dict[str, Any]:
    """The files that are not ours."""
    return {name: content for name, content in tree(recorded.folder).items() if name not in OWN_FILES}


def _has_check(loaded: Loaded) -> bool:
    return hasattr(loaded.factory, "check") or hasattr(loaded.module, "check")


def _refusal(h: Harness, option: str, value: Any) -> str | None:
    """How a wrong value is refused: at once, by the check, or by opening; None: it is not."""
    try:
        loaded = h.load({option: value})
        if _has_check(loaded):
            return "; ".join(h.check(loaded)) or None

        async def opened() -> None:
            async with h.open("wrong", loaded=loaded):
                pass

        h.run(opened)
    except ConfigError as error:
        return str(error)
    return None
