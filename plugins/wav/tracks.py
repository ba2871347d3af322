"""The tracks of one live stream, and which of their files are over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from receiver.events import Event, Frame, Gap
from receiver.sinks import Stream

from .layout import LEFT, RIGHT
from .losses import Losses
from .rotation import Rotation
from .segment import Written, stem
from .track import Track


@dataclass(frozen=True, slots=True)
class Behind:
    """What a stream has come past. Before the period ``settled`` nothing more comes; None: nothing comes at all.

    ``both``: there are both sides of a call, as far as is known.
    """

    files: tuple[Written, ...]
    settled: int | None
    both: bool


class Tracks:
    """A file per track at a time, begun with its first audio, and continued in the next one where the rotation cuts."""

    __slots__ = ("_behind", "_losses", "_resumed", "_rotation", "_settled", "_stream", "_tracks")

    def __init__(
        self,
        stream: Stream,
        rotation: Rotation,
        losses: Losses,
        behind: Callable[[Behind], object],
        *,
        resumed: bool = False,
    ) -> None:
        """``behind`` is called with files that are over while the stream goes on.

        ``resumed``: an earlier call of the sink has recorded what it was done with, which is the first gap of this one.
        """
        self._stream = stream
        self._rotation = rotation
        self._losses = losses
        self._behind = behind
        self._resumed = resumed
        self._settled = 0
        self._tracks: dict[str, Track] = {}

    def take(self, event: Event) -> None:
        """Queue a frame's samples, or a gap's hole. Never waits, and raises nothing for a disk."""
        if isinstance(event, Frame):
            track = self._tracks.get(event.track) or self._add(event)
            track.frame(event.samples)
        elif isinstance(event, Gap):
            track = self._tracks.get(event.track) or self._add(event)
            track.gap(event.end - event.start)

    def close(self) -> Behind:
        """Have the files that are open written to their ends and closed. Nothing comes after that."""
        tracks, self._tracks = self._tracks, {}
        for track in tracks.values():
            track.silence()
        closed = [track.end() for track in tracks.values()]
        sides = {stem(name) for name in tracks}
        return Behind(tuple(file for file in closed if file is not None), None, sides >= {LEFT, RIGHT})

    def _add(self, first: Frame | Gap) -> Track:
        name = first.track
        track = self._tracks[name] = Track(
            name,
            stem(name),
            first.rate,
            self._rotation.length(first.rate),
            self._stream.directory,
            self._losses,
            self,
            first.end if self._resumed and isinstance(first, Gap) else 0,
        )
        return track

    def passed(self, closed: Written | None) -> None:
        """A track has come to a cut: what both sides are past is settled. One that was announced is waited for."""
        tracks = {stem(name): track for name, track in self._tracks.items()}
        announced = {stem(name) for name in self._stream.facts.tracks}
        reached = []
        for side in (LEFT, RIGHT):
            track = tracks.get(side)
            if track is not None:
                reached.append(self._rotation.period(track.position, track.rate))
            elif side in announced:
                reached.append(0)
        settled = max(min(reached, default=0), self._settled)
        if closed is not None or settled > self._settled:
            self._settled = settled
            self._hand_on(closed)

    def broken(self, failed: Written) -> None:
        """What a file has that failed is finished at once."""
        self._hand_on(failed)

    def _hand_on(self, closed: Written | None) -> None:
        both = {stem(name) for name in self._tracks} >= {LEFT, RIGHT}
        self._behind(Behind(() if closed is None else (closed,), self._settled, both))
