"""A secret: a value that is read where it is kept, and never printed."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Never

from pydantic import GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from receiver.errors import ConfigError
from receiver.logs import logger

CHECK_EVERY_S = 0.5  # half of the second that a changed file may take to count
MAX_BYTES = 65536  # a token or a private key is far smaller; whatever is larger is the wrong file

log = logger("receiver.secret")


class Secret:
    """What ``{ env = "NAME" }`` or ``{ file = "path" }`` in a configuration stands for.

    ``value()`` gives the text. Everything else that could show it (``repr``, ``str``, logs, pickling) shows only where
    it is kept. ``check`` raises ValueError for a value that cannot be right.

    As the type of a plugin's option it accepts one of the two tables, makes sure at once that there is a value, and
    refuses a literal. Validation context: ``base`` is the folder of relative paths (Path), ``environ`` the variables;
    both default to the process's own.
    """

    __slots__ = ("_check", "_checked", "_clock", "_env", "_environ", "_failing", "_file", "_text")

    def __init__(
        self,
        *,
        env: str | None = None,
        file: Path | None = None,
        environ: Mapping[str, str] | None = None,
        check: Callable[[str], object] = bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if (env is None) == (file is None):
            raise ValueError("a secret is kept either in env or in file")
        self._env = env
        self._file = file
        self._environ = os.environ if environ is None else environ
        self._check = check
        self._clock = clock
        self._text: str | None = None
        self._checked = float("-inf")
        self._failing = False

    def value(self) -> str:
        """The secret, without the line ends after it.

        A file is looked at again when half a second has passed: it is small and local, and reading it whole costs less
        than being fooled by a time stamp. One that cannot be read, is empty, or fails the check keeps the last good
        value, and is warned about once. Thread-safe.

        Raises ConfigError, without a key, if there never was a good value.
        """
        now = self._clock()
        if self._text is None or (self._file is not None and now - self._checked >= CHECK_EVERY_S):
            self._checked = now
            try:
                self._text = self._read()
            except ValueError as error:
                if self._text is None:
                    raise ConfigError("", str(error)) from None
                if not self._failing:
                    log.warning("secret_kept", kept_in=str(self), problem=str(error))
                self._failing = True
            else:
                self._failing = False
        return self._text

    def _read(self) -> str:
        """Raises ValueError with a sentence that does not hold the secret."""
        if self._file is None:
            place = f"the environment variable {self._env}"
            text = self._environ.get(str(self._env), "")
        else:
            place = f"the file {self._file}"
            text = _read_file(self._file)
        text = text.rstrip("\r\n")
        if not text:
            raise ValueError(f"{place} is {'not set or ' if self._file is None else ''}empty")
        try:
            self._check(text)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        return text

    def __repr__(self) -> str:
        return f"Secret(env={self._env})" if self._file is None else f"Secret(file={self._file})"

    def __reduce__(self) -> Never:
        raise TypeError("a Secret is not copied or pickled: that would spread its value")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            cls._validate, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def _validate(cls, given: object, info: ValidationInfo) -> Secret:
        if isinstance(given, cls):
            return given
        context = info.context or {}
        match given:
            case {"env": str(env), **others} if env and not others:
                secret = cls(env=env, environ=context.get("environ"))
            case {"file": str(file), **others} if file and not others:
                secret = cls(file=Path(context.get("base", "")) / file)
            case _:
                raise PydanticCustomError(
                    "secret", 'must be { env = "NAME" } or { file = "path" }, never the secret itself'
                )
        try:
            secret.value()
        except ConfigError as error:
            raise PydanticCustomError("secret", "{problem}", {"problem": error.problem}) from None
        return secret


def _read_file(path: Path) -> str:
    try:
        # Not blocking, so that a pipe in the place of a file cannot hold up the server.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError(f"{path} is not a regular file")
            content = os.read(descriptor, MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise ValueError(f"the file {path} is longer than {MAX_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} is not UTF-8 text") from None
