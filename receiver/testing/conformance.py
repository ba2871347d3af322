"""The conformance suite: what a sink has promised, as tests that any plugin can run.

    class TestMine(SinkConformance):
        use = "mine"

Each test plays streams to the plugin, in a real hub, and its docstring is the rule that it looks at, and the section
of ``docs/writing-a-sink.md`` that has it. Attributes say what is particular about a plugin.
"""

from __future__ import annotations

from receiver.testing.plugin_rules import PluginRules
from receiver.testing.stream_rules import StreamRules
from receiver.testing.trouble_rules import TroubleRules


class SinkConformance(PluginRules, TroubleRules, StreamRules):
    """Subclass it as ``Test…`` with ``use``, and pytest runs the suite on that plugin.

    Relative paths start from pytest's root folder.
    """
