"""The head of a request, bounded and read strictly, before any library sees it.

What is wrong with it is raised as AccessDenied: the status to answer, and our word for it. No I/O.
"""

from __future__ import annotations

import base64
import binascii
import re

from receiver.errors import AccessDenied

MOST_LINE_BYTES = 8_190
"""Of a line with its end. websockets reads lines of 8,192, and what is rebuilt for it may be a byte longer."""

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])")
_NOT_IN_A_REQUEST_LINE = re.compile(rb"[^\x20-\x7e]")
_NOT_IN_A_FIELD = re.compile(rb"[^\t\x20-\x7e\x80-\xff]")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_AUTHORIZATION = b"authorization:"


class RequestHead:
    """One request's head, fed as it arrives: ``header_bytes`` in all, ``headers`` lines, none above half of that.

    A line that nobody may send ends it at once, not when the head is complete. Each byte is looked at once.
    """

    def __init__(self, *, header_bytes: int, headers: int) -> None:
        self._bytes = header_bytes
        self._headers = headers
        self._line_bytes = min(header_bytes // 2, MOST_LINE_BYTES)
        self._open = bytearray()  # the line that has not come to its end
        self._seen = 0  # of it
        self._lines: list[bytes] = []
        self._size = 0  # of the lines
        self.complete = False
        self.fields: list[tuple[str, str]] = []
        """The header fields, once it is complete and asks for a WebSocket."""
        self.upgrade = False
        """Whether it asks for a WebSocket, as RFC 6455, section 4.2.1 has it."""

    @property
    def begun(self) -> bool:
        """Whether anything has arrived."""
        return bool(self._lines or self._open)

    @property
    def target(self) -> str:
        """What is requested, once the request line is there."""
        return self._lines[0].split(b" ")[1].decode("ascii")

    @property
    def method(self) -> bytes:
        """Of the request line, as far as it is there."""
        return bytes(self._lines[0] if self._lines else self._open).partition(b" ")[0]

    def feed(self, data: bytes) -> bool:
        """Take what arrived; the answer is whether the head is complete. Not to be called again after that.

        Raises AccessDenied: 400, 405, 414, 426, 431 or 505.
        """
        line = self._open
        line += data
        while (end := line.find(b"\n", self._seen)) >= 0:
            self._take(bytes(line[: end + 1]))
            del line[: end + 1]
            self._seen = 0
            if self.complete:
                self._check()
                return True
        if not self._lines:
            self._check_bytes(line.removesuffix(b"\r") if len(line) <= self._line_bytes else line)
        self._check_size(line)
        self._seen = len(line)
        return False

    def text(self) -> bytes:
        """The head, and what had already arrived behind it."""
        return b"".join([*self._lines, b"\r\n", self._open])

    def _take(self, line: bytes) -> None:
        if not self._lines:
            self._check_bytes(line.removesuffix(b"\n").removesuffix(b"\r"))
        self._check_size(line)
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:  # nobody is to see another end of the head than we do
            raise AccessDenied(400, "request_unreadable")
        if not self._lines:
            self._check_request_line(line[:-2])
        elif line == b"\r\n":
            self.complete = True
            return
        elif len(self._lines) > self._headers:
            raise AccessDenied(431, "headers_too_many")
        self._size += len(line)
        if len(line) > self._line_bytes:  # a token too long to be one: the source decides what a wrong one is told
            line = b"Authorization:\r\n"
        self._lines.append(line)

    def _check_bytes(self, line: bytes | bytearray) -> None:
        """Of a request line, up to its limit; an end of the last piece may have been no end."""
        if _NOT_IN_A_REQUEST_LINE.search(line, max(0, self._seen - 1), self._line_bytes):
            raise AccessDenied(400, "request_unreadable")

    def _check_size(self, line: bytes | bytearray) -> None:
        if not self._lines:
            if len(line) > self._line_bytes:
                raise AccessDenied(414, "request_line_too_long")
        elif self._size + len(line) > self._bytes:
            raise AccessDenied(431, "headers_too_large")
        elif len(line) > self._line_bytes and line[: len(_AUTHORIZATION)].lower() != _AUTHORIZATION:
            raise AccessDenied(431, "headers_too_large")

    def _check_request_line(self, line: bytes) -> None:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            raise AccessDenied(400, "request_unreadable")
        if match[3] not in (b"1.0", b"1.1"):
            raise AccessDenied(505, "http_version")

    def _check(self) -> None:
        request, *lines = self._lines
        fields: dict[bytes, list[bytes]] = {}
        for line in lines:
            name, colon, value = line.partition(b":")
            # RFC 9110, section 5.5, and RFC 9112, sections 5.1 and 5.2: also no folded line.
            if not colon or not _NAME.fullmatch(name) or _NOT_IN_A_FIELD.search(line[:-2]):
                raise AccessDenied(400, "request_unreadable")
            fields.setdefault(name.lower(), []).append(value.strip(b" \t\r\n"))
        if len(fields.get(b"authorization", ())) > 1:
            raise AccessDenied(400, "authorization_repeated")
        if len(fields.get(b"host", ())) > 1:
            raise AccessDenied(400, "host_repeated")
        asked = _words(fields.get(b"upgrade"))
        if b"websocket" in asked:
            self._check_upgrade(request, fields)
            self.upgrade = asked == [b"websocket"] and b"upgrade" in _words(fields.get(b"connection"))
            self.fields = [
                (name.decode("ascii"), value.decode("latin-1")) for name, values in fields.items() for value in values
            ]

    def _check_upgrade(self, request: bytes, fields: dict[bytes, list[bytes]]) -> None:
        """RFC 6455, section 4.2.1; nothing may come behind it before it is answered."""
        if request.endswith(b"1.0\r\n"):
            raise AccessDenied(505, "http_version")
        if self.method != b"GET":
            raise AccessDenied(405, "method", {"Allow": "GET"})
        if b"host" not in fields:
            raise AccessDenied(400, "host_missing")
        sizes = set(fields.get(b"content-length", ()))
        if sizes - {b"0"} or b"transfer-encoding" in fields or self._open:  # some devices say that there is no body
            raise AccessDenied(400, "upgrade_with_body")
        keys = fields.get(b"sec-websocket-key", [])
        if len(keys) != 1 or not _is_key(keys[0]):
            raise AccessDenied(400, "websocket_key")
        versions = fields.get(b"sec-websocket-version", [])
        if len(versions) > 1:
            raise AccessDenied(400, "websocket_version")
        if versions != [b"13"]:
            raise AccessDenied(426, "websocket_version", {"Sec-WebSocket-Version": "13"})


def _words(values: list[bytes] | None) -> list[bytes]:
    return [word.strip(b" \t").lower() for value in values or () for word in value.split(b",")]


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False
