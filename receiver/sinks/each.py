"""``each``: a sink's events, handed to a function as they come."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable

from receiver.events import Event
from receiver.sinks.reader import AsyncReader


async def each(events: AsyncIterator[Event], function: Callable[[Event], object]) -> None:
    """Call ``function`` with every event as it comes, Ended included, and return when they end.

    The same as ``async for event in events: function(event)``, and cheaper: no task is woken for a batch. ``function``
    is called on the sink's loop, with the context variables of who awaits this, and must not block; what it returns is
    passed over. After a cancellation, or an exception that was caught, the events may be iterated on.

    Raises what ``function`` raises, and does not call it again; TypeError for a function that is to be awaited.
    """
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
        raise TypeError("each: takes an ordinary function; where there is something to await, write 'async for'")
    if isinstance(events, AsyncReader):
        await events.each(function)
    else:
        async for event in events:
            function(event)
