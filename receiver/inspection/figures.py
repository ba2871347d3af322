"""The figures of the tracks as rows of a table, a column for each track: for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping

from receiver.inspection.distribution import Spread
from receiver.inspection.envelope import ACTIVE_DBFS
from receiver.inspection.report import TrackFigures


def rows(tracks: Mapping[str, TrackFigures]) -> list[tuple[str, list[str]]]:
    """Names and values. A row that says nothing of any track is left out."""
    columns = [dict(_track(track)) for track in tracks.values()]
    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, [column.get(name, "") for column in columns]) for name in names]


def jump_ms(stamp: int | None) -> str:
    """A stamp on one side of a jump, where there was one."""
    return "no stamp" if stamp is None else str(stamp)


def _track(track: TrackFigures) -> list[tuple[str, str]]:
    lines = [("duration, s", f"{track.duration_s:.2f}")]
    packets, counters, audio = track.packets, track.counters, track.audio
    if packets:
        lines += [("media messages", str(packets.messages)), ("payload, bytes", str(packets.payload_bytes))]
        if packets.packet_ms_min is not None:
            lines.append(("packet, ms", _range(packets.packet_ms_min, packets.packet_ms_max)))
        lines += _spread("spacing", packets.spacing_ms)
        if packets.jitter:
            lines.append(("jitter (RFC 3550), ms", _pair(packets.jitter.rfc3550_ms, packets.jitter.rfc3550_max_ms)))
            lines += _spread("delay", packets.jitter.delay_ms)
        lines.append(("chunks", _numbers(packets.first_chunk, packets.last_chunk)))
        if packets.chunk_jumps:
            lines.append(("chunks skipped, times", f"{packets.chunks_skipped}, {packets.chunk_jumps}"))
        lines.append(("timestamps, ms", _numbers(packets.first_timestamp_ms, packets.last_timestamp_ms)))
    if counters:
        lines += [("received", str(counters.received)), ("  placed", str(counters.placed))]
        for name in ("duplicate", "late", "rejected"):
            lines.append((f"  {name}", str(getattr(counters, name))))
        for name in ("reordered", "trimmed", "unstamped", "discontinuities", "skew_ms"):
            if value := getattr(counters, name):
                lines.append((name.replace("skew_ms", "behind its stamps, ms"), str(value)))
    lines.append(("gaps", str(len(track.gaps))))
    lines += [(f"  {cause}, s", f"{length:.3f}") for cause, length in track.gaps_s.items()]
    if audio:
        lines += [
            ("audio, s", f"{audio.audio_s:.2f}"),
            ("peak, dBFS", _level(audio.peak_dbfs)),
            ("RMS, dBFS", _level(audio.rms_dbfs)),
        ]
        share = audio.active_s / audio.audio_s if audio.audio_s else 0.0
        lines.append((f"above {ACTIVE_DBFS:.0f} dBFS", f"{share:.0%}"))
    lines.append(("audio from", track.audio_source or "nowhere: there is no file"))
    return lines


def _spread(name: str, spread: Spread | None) -> list[tuple[str, str]]:
    if spread is None:
        return []
    return [
        (f"{name}, ms: median", f"{spread.median:.1f}"),
        (f"{name}, ms: least - most", f"{spread.min:.1f} - {spread.max:.1f}"),
        (f"{name}, ms: p95, p99", f"{spread.p95:.1f}, {spread.p99:.1f}"),
    ]


def _range(least: float, most: float | None) -> str:
    return f"{least:g}" if least == most else f"{least:g} - {most:g}"


def _pair(last: float, most: float) -> str:
    return f"{last:.1f}, at most {most:.1f}"


def _numbers(first: int | None, last: int | None) -> str:
    return "none" if first is None else f"{first} - {last}"


def _level(value: float) -> str:
    return f"{value:.1f}" if value > -1e9 else "silence"
