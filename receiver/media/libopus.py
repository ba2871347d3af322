"""The handful of functions of libopus that a call needs, bound with ctypes: opus.h of libopus 1.1 or later."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_int, c_int32, c_void_p
from ctypes.util import find_library
from functools import cache

import numpy as np

from receiver.events import Samples

_FINDERS: list[Callable[[], str | None]] = [
    lambda: "libopus.so.0",  # the names that the loader knows, then whatever it takes longer to find
    lambda: "libopus.0.dylib",
    lambda: find_library("opus"),
]
_VOIP = 2048  # OPUS_APPLICATION_VOIP
_SET_BITRATE = 4002  # OPUS_SET_BITRATE_REQUEST
_LONGEST_CONCEALED_MS = 120  # libopus fades to silence within this time; extrapolating further is wasted
_MOST_BYTES = 4000  # of an encoded packet: opus.h recommends it


@cache
def load() -> ctypes.PyDLL | None:
    """Find and load the library, once per process; None: the system has none.

    Where it has none, the first call takes a while (it asks ldconfig and a compiler): make it before serving sockets.
    """
    for find in _FINDERS:
        name = find()
        try:
            # PyDLL keeps the GIL: a call takes some 20 µs, and one that let go of it might wait 5 ms to get it back
            # from a busy thread of a sink, for every packet of every call.
            if name is not None:
                return _bound(ctypes.PyDLL(name))
        except (OSError, AttributeError):
            continue
    return None


def version() -> str:
    """What the library calls itself, e.g. ``libopus 1.3.1``. Raises LookupError if there is none."""
    text: bytes = _library().opus_get_version_string()
    return text.decode()


class Decoder:
    """A decoder of one channel, at ``rate`` hertz. Freed with the object."""

    def __init__(self, rate: int) -> None:
        self._library = _library()
        self._rate = rate
        error = c_int()
        self._state = self._library.opus_decoder_create(rate, 1, error)
        if error.value:
            raise ValueError(f"libopus: no decoder for {rate} Hz (error {error.value})")
        weakref.finalize(self, self._library.opus_decoder_destroy, self._state)
        self._concealed = 0

    def decode(self, packet: bytes, samples: int) -> Samples | None:
        """Decode one packet that holds this many samples; None: it could not be decoded."""
        self._concealed = 0
        out = np.empty(samples, np.int16)
        decoded = self._library.opus_decode(self._state, packet, len(packet), out.ctypes.data, samples, 0)
        return out if decoded == samples else None

    def conceal(self, samples: int) -> None:
        """Extrapolate over a hole of up to 120 ms; start afresh behind a longer one."""
        self._concealed += samples
        if self._concealed > self._rate * _LONGEST_CONCEALED_MS // 1000:
            self._library.opus_decoder_init(self._state, self._rate, 1)
            return
        whole = samples - samples % (self._rate // 400)  # libopus conceals in steps of 2.5 ms
        if whole:
            out = np.empty(whole, np.int16)
            self._library.opus_decode(self._state, None, 0, out.ctypes.data, whole, 0)


class Encoder:
    """An encoder of one channel, at ``rate`` hertz and ``bitrate`` bits per second. Freed with the object."""

    def __init__(self, rate: int, bitrate: int) -> None:
        self._library = _library()
        error = c_int()
        self._state = self._library.opus_encoder_create(rate, 1, _VOIP, error)
        if error.value:
            raise ValueError(f"libopus: no encoder for {rate} Hz (error {error.value})")
        weakref.finalize(self, self._library.opus_encoder_destroy, self._state)
        if self._library.opus_encoder_ctl(self._state, _SET_BITRATE, c_int32(bitrate)):
            raise ValueError(f"libopus: no encoder for {bitrate} bit/s")
        self._packet = ctypes.create_string_buffer(_MOST_BYTES)

    def encode(self, samples: Samples) -> bytes:
        """Encode one frame of contiguous samples. Raises ValueError for a length that OPUS does not have."""
        size = self._library.opus_encode(self._state, samples.ctypes.data, len(samples), self._packet, _MOST_BYTES)
        if size < 0:
            raise ValueError(f"libopus: cannot encode {len(samples)} samples (error {size})")
        return self._packet.raw[:size]


def _library() -> ctypes.PyDLL:
    library = load()
    if library is None:
        raise LookupError("libopus is not installed")
    return library


def _bound(library: ctypes.PyDLL) -> ctypes.PyDLL:
    """Declare the functions; AttributeError if it is some other library."""
    library.opus_get_version_string.argtypes = []
    library.opus_get_version_string.restype = c_char_p
    library.opus_decoder_create.argtypes = [c_int32, c_int, POINTER(c_int)]
    library.opus_decoder_create.restype = c_void_p
    library.opus_decoder_init.argtypes = [c_void_p, c_int32, c_int]
    library.opus_decode.argtypes = [c_void_p, c_char_p, c_int32, c_void_p, c_int, c_int]
    library.opus_decoder_destroy.argtypes = [c_void_p]
    library.opus_decoder_destroy.restype = None
    library.opus_encoder_create.argtypes = [c_int32, c_int, c_int, POINTER(c_int)]
    library.opus_encoder_create.restype = c_void_p
    # The declared arguments are the fixed ones; ctypes passes what follows as a variadic call does (arm64 needs that).
    library.opus_encoder_ctl.argtypes = [c_void_p, c_int]
    library.opus_encode.argtypes = [c_void_p, c_void_p, c_int, c_char_p, c_int32]
    library.opus_encoder_destroy.argtypes = [c_void_p]
    library.opus_encoder_destroy.restype = None
    return library
