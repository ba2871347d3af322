"""Captures: a stream as it arrived, kept verbatim, read back, and played through the same middle as it was live."""
