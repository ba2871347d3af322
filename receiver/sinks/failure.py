"""A failure of a sink, in one line."""

from __future__ import annotations

import traceback

LENGTH = 300
"""No more of a foreign exception's text than this: it may hold anything."""


def describe_failure(error: BaseException) -> dict[str, str]:
    """What was raised and where, as fields of a log line."""
    frames = traceback.extract_tb(error.__traceback__)
    where = {"at": f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}"} if frames else {}
    return {"error": failure_text(error), **where}


def failure_text(error: BaseException) -> str:
    """The exception's type and text, on one line, cut to a bearable length."""
    text = " ".join(str(error).split())
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= LENGTH else text[: LENGTH - 1] + "…"


def forget_frames(error: BaseException) -> None:
    """Let go of all that was there when it was raised: of a failure that was told, nobody reads that any more."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            left += [one.__cause__, one.__context__]
            if isinstance(one, BaseExceptionGroup):
                left += one.exceptions
