"""Which streams something is for: ``sources`` and ``when``, as a sink's and the captures' tables have them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from receiver.stream import StreamFacts


def selects(sources: Sequence[str] | None, when: Mapping[str, Any], facts: StreamFacts) -> bool:
    """Whether a stream came in by one of ``sources`` (None: any) and has all custom parameters of ``when``.

    Values are compared as text: a platform may send ``1`` or ``"1"``.
    """
    parameters = facts.parameters
    return (sources is None or facts.source in sources) and all(
        key in parameters and _text(parameters[key]) == _text(value) for key, value in when.items()
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
