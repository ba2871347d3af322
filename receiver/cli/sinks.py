"""``receiver sinks``: what can stand behind ``use``, and its options."""

from __future__ import annotations

from receiver.sinks.loading import InstalledSink, describe


def sinks() -> None:
    """List the installed sinks and their options."""
    for sink in describe():
        _show(sink)
    print('Your own: use = "./file.py" or "package.module:attribute", or  receiver serve --sink ./file.py')


def _show(sink: InstalledSink) -> None:
    origin = f"  ({sink.distribution})" if sink.distribution else ""
    print(f'{sink.name}{origin}  use = "{sink.name}"')
    if sink.summary:
        print(f"    {sink.summary}")
    if sink.error is not None:
        print(f"    cannot be loaded: {sink.error}")
    width = max((len(option.name) for option in sink.options), default=0)
    for option in sink.options:
        default = "required" if option.required else f"default {option.default}"
        print(f"    {option.name:<{width}}  {option.type}  {default}")
    print()
