"""One line per event, whoever logs it, and no secret in any."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import random
import re
from collections.abc import Iterator

import pytest
import structlog

from receiver import logs

SECRET = "Zq9-secretvalue_77.x~"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "websockets"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    text = stream.getvalue()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def hostile() -> list[str]:
    """Five hundred strings that have broken logs before, and random ones of what those are made of."""
    known = [
        "a\nb", "a\r\nb", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x00", "\x85", "\u2028", "\u2029", "\ud800",
        "\u202e", "\udcff", '"', "\\", '"}\n{"event": "forged"}', "%s%d%n", "{}{0}{event}", "\t", "\x7f",
        "\ufeff", "\x0b\x0c", "", " ", "\U0001f4de", "é", "x" * 100_000, "\n" * 5_000, "'", "</script>", "NaN",
        "${jndi:ldap://x}", "null",
    ]  # fmt: skip
    parts = random.Random(7)
    alphabet = "\n\r\x1b[\x00\x9b\u2028\ud83d\udc00\"'\\{}%s= aZ\u202e"
    made = ["".join(parts.choices(alphabet, k=parts.randrange(1, 40))) for _ in range(500 - len(known))]
    return known + made


def test_each_of_500_hostile_strings_is_exactly_one_line_of_json() -> None:
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    ours, foreign = logs.logger("receiver.asgi"), logging.getLogger("somebody.else")
    for text in hostile():
        stream.seek(0)
        stream.truncate()
        ours.info("peer said", value=text, nested={"list": [text], text: 1})
        foreign.warning("said %s", text)
        ours.error(text)
        found = lines(stream)
        assert [line["level"] for line in found] == ["info", "warning", "error"]
        assert {line["logger"] for line in found} == {"receiver.asgi", "somebody.else"}
        stream.getvalue().encode("ascii")


def test_on_a_terminal_no_string_breaks_a_line_or_moves_the_cursor() -> None:
    stream = Terminal()
    logs.configure("debug", "text", stream)
    log = logs.logger("receiver.asgi")
    for text in hostile():
        stream.seek(0)
        stream.truncate()
        log.info("peer said", value=text)
        log.info(text)
        shown = re.sub(r"\x1b\[\d+(;\d+)*m(\w+ *)\x1b\[0m", r"\2", stream.getvalue())
        assert len(shown.splitlines()) == 2
        assert shown.replace("\n", "").isprintable()


def test_a_line_says_when_how_bad_who_and_what() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logs.logger("receiver.asgi").info("stream ended", reason="stop", seconds=1.5, gaps={"lost": 2}, nan=float("nan"))
    (line,) = lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", str(line.pop("timestamp")))
    assert line == {
        "level": "info",
        "logger": "receiver.asgi",
        "event": "stream ended",
        "reason": "stop",
        "seconds": 1.5,
        "gaps": {"lost": 2},
        "nan": "nan",
    }


def test_a_terminal_gets_text_and_a_pipe_gets_json() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    logs.configure(stream=terminal)
    logs.logger("receiver").info("hello", source="default", text="two words", n=1)
    logs.configure(stream=pipe)
    logs.logger("receiver").info("hello")
    assert re.fullmatch(
        r'\d\d:\d\d:\d\d \x1b\[32minfo   \x1b\[0m hello  source=default  text="two words"  n=1\n', terminal.getvalue()
    )
    assert lines(pipe)[0]["event"] == "hello"


def test_text_can_be_asked_for_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    logs.configure(format="text", stream=stream)
    logs.logger("receiver").warning("hello")
    assert stream.getvalue()[9:] == "warning hello\n"


def test_the_stream_is_on_every_line_of_its_context_the_libraries_lines_too() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    with logs.bound(stream="0190-a"):
        logs.logger("receiver").info("ours")
        structlog.get_logger("receiver.too").info("ours as well")
        logging.getLogger("uvicorn.error").warning("theirs")
    logs.logger("receiver").info("after")
    assert [line.get("stream") for line in lines(stream)] == ["0190-a", "0190-a", "0190-a", None]


def test_below_the_level_nothing_is_said() -> None:
    stream = io.StringIO()
    logs.configure("warning", stream=stream)
    logs.logger("receiver").info("quiet")
    logging.getLogger("other").info("quiet")
    logs.logger("receiver").warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


@pytest.mark.parametrize("level", logs.LEVELS)
@pytest.mark.parametrize("format", ["json", "text"])
def test_no_secret_is_written_at_any_level(level: str, format: str) -> None:
    stream = io.StringIO()
    logs.configure(level, format, stream)
    ours = logs.logger("receiver.asgi")
    uvicorn, websockets = logging.getLogger("uvicorn.error"), logging.getLogger("websockets.client")
    for say in (ours.debug, ours.info, ours.warning, ours.error):
        say("refused", authorization=f"Bearer {SECRET}", headers=[("authorization", f"Bearer {SECRET}")])
        say(f"GET /stream?token={SECRET}", token=SECRET, parameters={"secret": SECRET}, payload=SECRET.encode())
    for say_too in (uvicorn.debug, uvicorn.info, uvicorn.warning, websockets.debug, websockets.info):
        say_too('%s - "WebSocket %s" [accepted]', "127.0.0.1", f"/twilio/{SECRET}?token={SECRET}")
        say_too("< Authorization: Bearer %s", SECRET)
    logging.getLogger("websockets.server").debug("> TEXT '%s'", SECRET)
    logging.getLogger("uvicorn.access").info('%s - "%s" %d', "127.0.0.1", f"GET /api/{SECRET}", 200)
    try:
        raise ValueError(f"Authorization: Bearer {SECRET}", {"payload": SECRET})
    except ValueError:
        ours.exception("it broke", digits=SECRET)
        uvicorn.exception("Exception in ASGI application\n")
    assert SECRET not in stream.getvalue()
    assert "it broke" in stream.getvalue()


def test_the_servers_chatter_is_left_out_and_its_complaints_are_kept() -> None:
    stream = io.StringIO()
    logs.configure("debug", stream=stream)
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.info("connection open")
    uvicorn.info("connection closed")
    uvicorn.info('%s - "WebSocket %s" 403', "127.0.0.1", "/x")
    uvicorn.info("Started server process [%d]", 7)
    try:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    except UnicodeDecodeError:
        uvicorn.exception("Invalid UTF-8 sequence received from client.")
    found = lines(stream)
    assert [line["event"] for line in found] == [
        "Started server process [7]",
        "Invalid UTF-8 sequence received from client.",
    ]
    assert "exception" not in found[1]


def test_a_level_that_a_library_sets_for_itself_opens_no_door() -> None:
    stream = io.StringIO()
    logs.configure("debug", stream=stream)
    logging.getLogger("uvicorn.error").setLevel(5)
    logging.getLogger("uvicorn.error").debug("headers")
    logging.getLogger("websockets.protocol").setLevel(logging.DEBUG)
    logging.getLogger("websockets.protocol").debug("< TEXT")
    assert lines(stream) == []


def test_a_traceback_is_one_value_in_json_and_indented_on_a_terminal() -> None:
    pipe, terminal = io.StringIO(), Terminal()
    for stream in (pipe, terminal):
        logs.configure(stream=stream)
        try:
            raise RuntimeError("first\n12:00:00 info forged")
        except RuntimeError:
            logs.logger("receiver").exception("sink failed", sink="wav", stack_info=True)
    (line,) = lines(pipe)
    assert str(line["exception"]).startswith("Traceback") and "forged" in str(line["exception"])
    first, *rest = terminal.getvalue().splitlines()
    assert "sink failed  sink=wav" in first
    assert rest and all(text.startswith("    | ") for text in rest)
    assert "Stack (most recent call last)" in terminal.getvalue()


def test_a_template_with_the_wrong_arguments_costs_its_own_line_alone(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logging.getLogger("other").warning("%d streams", SECRET)
    logging.getLogger("other").warning("next")
    found = lines(stream)
    assert found[0]["event"] == "a log line of test_logs could not be made: TypeError"
    assert found[1]["event"] == "next"
    assert SECRET not in stream.getvalue() + capsys.readouterr().err


def test_a_closed_standard_error_stops_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    stream.close()
    logs.logger("receiver").error("nobody hears", token=SECRET)
    assert capsys.readouterr().err == ""


def test_standard_error_is_where_logs_go() -> None:
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream):
        logs.configure()
        logs.logger("receiver").info("hello")
    assert lines(stream)[0]["event"] == "hello"


def test_configuring_twice_writes_every_line_once() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logs.configure(stream=stream)
    logging.getLogger("uvicorn.error").addHandler(logging.NullHandler())
    logs.logger("receiver").info("hello")
    logging.getLogger("uvicorn.error").warning("there")
    assert len(lines(stream)) == 2


def test_in_somebody_elses_application_their_logging_decides(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logs.logger("receiver.asgi").info("stream started", source="default")
        logs.logger("receiver.asgi").debug("too quiet")
    assert [record.name for record in caplog.records] == ["receiver.asgi"]
    assert "stream started" in caplog.text
