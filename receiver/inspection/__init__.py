"""What is in a capture or a stream's folder: figures of its messages and its audio, as text, JSON, PNG and HTML."""
