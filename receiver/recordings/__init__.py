"""A stream's folder: named so that no peer can lead out of the root, journalled while the stream lives, told of in
``stream.json`` at the end, and finished at the next start where a crash came first.
"""

from __future__ import annotations

from receiver.recordings.ledger import SinkEntry
from receiver.recordings.naming import check_template
from receiver.recordings.recording import Recording
from receiver.recordings.recovery import recover, recover_folder

__all__ = ["Recording", "SinkEntry", "check_template", "recover", "recover_folder"]
