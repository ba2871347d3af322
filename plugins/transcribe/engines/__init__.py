"""The engines: each a file with its context manager, and ``check``, which says what is wrong without opening it."""
