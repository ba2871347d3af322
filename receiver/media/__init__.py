"""Where is it in time? Payloads become samples, and samples get a position on a timeline that cannot drift."""
