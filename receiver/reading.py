"""How the streams of a source are read: from the configuration to the settings of a session."""

from __future__ import annotations

from receiver.config import Config
from receiver.sessions.settings import SessionSettings


def session_settings(config: Config, source: str) -> SessionSettings:
    """The settings of a source's sessions. Raises KeyError for a source that is not configured."""
    of_source, limits = config.sources[source], config.limits
    return SessionSettings(
        dialect=of_source.dialect,
        l16_byte_order=of_source.l16_byte_order,
        encodings=of_source.encodings,
        counters=of_source.counters == "track",
        own_zero=of_source.track_zero == "own",
        message_bytes=limits.message_bytes,
        payload_bytes=limits.payload_bytes,
        tracks=limits.tracks,
        start_timeout_s=limits.start_timeout_s,
        idle_timeout_s=limits.idle_timeout_s,
        burst_s=limits.burst_s,
        bad_messages=limits.bad_messages,
        mask_digits=config.privacy.digits == "mask",
    )
