"""The ``wav`` plugin: a stream's tracks as audio files that any player opens, also while they grow."""

from __future__ import annotations

from .plugin import Layout, plugin

__all__ = ["Layout", "plugin"]
