"""From a finished WAV file to the encoded one: written, read back, named, declared; and only then the WAV file goes."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import soundfile

from receiver.sinks import Stream

from .audio_file import AudioFile
from .codec import Codec, NotEncoded, Stopped
from .format import PART, publish
from .layout import declare
from .listing import matching
from .source import Source
from .tags import tags
from .verification import difference


@dataclass(frozen=True)
class Encoder:
    """Makes one format, with what the options say. Blocks; used by several threads at once.

    ``kbps`` is for each channel; None leaves it to the rate.
    """

    codec: Codec
    kbps: int | None = None
    keep_wav: bool = False

    def finish(self, stream: Stream, wavs: list[Path], stopped: Callable[[], bool]) -> list[NotEncoded]:
        """Encode the files of a stream, and declare what there is in the end. What went wrong is in the answer.

        Each file is declared as soon as it is final. ``stopped`` is asked for every block; once it is true, what is
        not done stays WAV.
        """
        problems: list[NotEncoded] = []
        for wav in wavs:
            try:
                self._replace(stream, wav, stopped)
            except (NotEncoded, OSError, ValueError, soundfile.SoundFileError) as problem:
                declare(stream, wav)
                if not isinstance(problem, NotEncoded):
                    problem = NotEncoded(f"{wav.name} stays as it is: {problem}")
                problems.append(problem)
        return problems

    def _replace(self, stream: Stream, wav: Path, stopped: Callable[[], bool]) -> None:
        def check() -> None:
            if stopped():
                raise Stopped(f"{wav.name} stays as it is: there was no time to encode it")

        source = Source.open(wav)
        if not source.frames:
            declare(stream, wav)
            return
        check()
        encoded = self._made_before(source, check) or self._make(stream, source, check)
        stream.add_file(encoded, kind="audio", media_type=self.codec.media_type)
        if self.keep_wav:
            declare(stream, wav)
        else:
            wav.unlink()

    def _made_before(self, source: Source, check: Callable[[], object]) -> Path | None:
        """A file that a run before this one had made and verified, when it was ended before it had removed the WAV."""
        wav, suffix = source.path, self.codec.suffix
        for file in (wav.with_suffix(suffix), *matching(wav.parent, f"{wav.stem}-[0-9]*{suffix}")):
            if file.is_file() and not file.is_symlink() and difference(file, source, self.codec, check) is None:
                return file
        return None

    def _make(self, stream: Stream, source: Source, check: Callable[[], object]) -> Path:
        wanted = source.path.with_suffix(self.codec.suffix)
        part = wanted.with_name(f"{wanted.name}{PART}")
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(part, flags, 0o600)
        try:
            try:
                self._write(descriptor, source, tags(stream, source.path.stem, source.rate), check)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            wrong = difference(part, source, self.codec, check)
            if wrong is not None:
                raise NotEncoded(f"{source.path.name} stays as it is: as {self.codec.name} {wrong}")
            return publish(part, wanted)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise

    def _write(self, descriptor: int, source: Source, said: dict[str, str], check: Callable[[], object]) -> None:
        codec = self.codec
        rate = codec.rate(source.rate)
        with AudioFile(
            descriptor,
            "w",
            rate,
            source.channels,
            codec.subtype,
            format=codec.container,
            closefd=False,
            **codec.settings(rate, source.channels, self.kbps),
        ) as file:
            for name, text in said.items():
                # of the date an MP3 tag has the year alone (TYER, in ID3v2.3); the comment has all of it
                setattr(file, name, text[:4] if (codec.name, name) == ("mp3", "date") else text)
            # float for the lossy ones: libsndfile 1.2.2 spoils 16-bit stereo on its way to an MP3 encoder
            for block in source.ints() if codec.lossless else source.floats(rate):
                check()
                file.write(block)
