"""One stream, from its first message to its last: what is legal when, and what is counted and skipped."""
