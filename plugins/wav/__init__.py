"""The ``wav`` plugin: a stream's tracks as audio files that any player opens, also while they grow."""

from __future__ import annotations

from .codec import Encoding
from .layout import Layout
from .plugin import check, plugin

__all__ = ["Encoding", "Layout", "check", "plugin"]
