"""The fixtures, as a project has them that has installed this package: runs of pytest in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from receiver import testing

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
MODULE = "receiver.testing.plugin"
INSTALLED = any(point.value == MODULE for point in entry_points(group="pytest11"))


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run what was put into the folder, with every warning an error."""
    loaded = () if INSTALLED else ("-p", MODULE)
    return pytester.runpytest_subprocess("-W", "error", *loaded, *options, timeout=50)


def test_it_is_an_entry_point() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert f'[project.entry-points.pytest11]\nreceiver = "{MODULE}"\n' in text


def test_the_shortest_test_has_three_lines(pytester: pytest.Pytester, speech: Path) -> None:
    pytester.makepyfile(f"""
        def test_it_is_recorded(receiver_server):
            recorded = receiver_server.play({str(speech)!r})
            assert recorded.gaps("inbound") == [] and len(recorded.audio("inbound")[0]) == 21 * 8000
    """)
    run(pytester).assert_outcomes(passed=1)


def test_a_sink_of_the_project_is_found_from_its_root_wherever_pytest_is_called(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]")
    pytester.makepyfile(
        my_sink="""
        async def sink(stream, events):
            async for event in events:
                pass
            stream.annotate("heard", start=0, end=0, rate=8000, data=stream.sink)
    """
    )
    tests = pytester.mkdir("tests")
    (tests / "test_sink.py").write_text(
        """
import numpy as np

def test_it_hears(run_receiver, tmp_path):
    with run_receiver(sinks={"mine": {"use": "./my_sink.py"}}) as server:
        recorded = server.play((np.zeros(800, np.int16), 8000))
    assert [note["data"] for note in recorded.annotations] == ["mine"]
    assert recorded.folder.is_relative_to(tmp_path / "recordings")
"""
    )
    pytester.chdir()
    result = run(pytester, "--rootdir", str(pytester.path), str(tests))
    result.assert_outcomes(passed=1)


def test_a_failing_test_ends_the_receiver_at_once_and_shows_whether_the_sink_failed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import threading

        import numpy as np

        async def sink(stream, events):
            raise RuntimeError("a mistake of mine")

        def test_it_fails(run_receiver):
            with run_receiver(sinks=[sink]) as server:
                recorded = server.play((np.zeros(800, np.int16), 8000))
                assert recorded.annotations

        def test_nothing_is_left():
            assert [thread.name for thread in threading.enumerate() if not thread.daemon] == ["MainThread"]
            assert not [thread for thread in threading.enumerate() if thread.name == "receiver-testing"]
    """)
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["E * where [[]] = <Recorded *, ended by stop, failed sinks: {'sink': '*a mistake of mine'}>.annotations"]
    )


def test_a_configuration_that_cannot_work_is_the_servers_own_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest
        from receiver.errors import ConfigError

        def test_it_does_not_start(run_receiver):
            with pytest.raises(ConfigError, match="^sinks.wav.options.layout: "):
                with run_receiver(sinks={"wav": {"use": "wav", "options": {"layout": "round"}}}):
                    raise AssertionError("it has started")
    """)
    run(pytester).assert_outcomes(passed=1)


def test_fixtures_of_the_same_names_are_the_projects_own(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
        import pytest

        @pytest.fixture
        def run_receiver():
            return "mine"

        @pytest.fixture
        def receiver_server():
            return "mine as well"
    """)
    pytester.makepyfile("""
        import sys

        def test_they_are_mine(run_receiver, receiver_server):
            assert (run_receiver, receiver_server) == ("mine", "mine as well")
            loaded = {name for name in sys.modules if name.partition(".")[0] == "receiver"}
            assert loaded == {"receiver", "receiver.testing", "receiver.testing.plugin"}
            assert not {"numpy", "pydantic", "starlette", "uvloop", "websockets"} & set(sys.modules)
    """)
    run(pytester).assert_outcomes(passed=1)


def test_both_fixtures_tell_what_they_are(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--fixtures")
    result.stdout.fnmatch_lines(["run_receiver*", "*runs a receiver on free ports*", "receiver_server*"])


def test_loading_it_imports_nothing_but_pytest_and_the_standard_library() -> None:
    program = f"""
import sys, pytest
before = set(sys.modules)
import {MODULE}
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(*sorted(new - set(sys.stdlib_module_names)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.split() == ["receiver"]


def test_every_public_name_is_there_once_it_is_asked_for() -> None:
    for name in testing.__all__:
        assert getattr(testing, name).__name__ == name or name == "RunReceiver"
    assert set(testing.__all__) <= set(dir(testing))
    assert not hasattr(testing, "nonsense")


def test_it_imports_nothing_of_ours_but_its_own_package() -> None:
    program = f'import sys, {MODULE}; print(*(name for name in sys.modules if name.startswith("receiver")))'
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    assert set(done.stdout.split()) == {"receiver", "receiver.testing", MODULE}
