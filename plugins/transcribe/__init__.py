"""The ``transcribe`` plugin: what was said on a stream, by whom and where, as annotations and as files.

Its worker processes import this package as well, so nothing is imported here.
"""
