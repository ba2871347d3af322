"""What all requests that change something have in common: who may not ask, and how a problem is said."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


def is_foreign(request: Request) -> bool:
    """Whether a browser says that a page from elsewhere sent this: such a page can post, but must not."""
    origin = request.headers.get("origin")
    try:
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return True
    except ValueError:  # http://[
        return True
    return request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")


def problem(status: int, text: str) -> Response:
    """An answer that says what is wrong."""
    return JSONResponse({"error": text}, status)
