"""Live transcription: what was said on a stream, by whom and where, as annotations and as files."""
