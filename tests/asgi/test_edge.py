from dataclasses import fields

from receiver.asgi.edge import Edge
from receiver.asgi.server import edge_of
from receiver.config import Config


def test_the_limits_of_the_wire_are_those_of_the_configuration() -> None:
    assert edge_of(Config.model_validate({"limits": {"handshakes": 1}})) == Edge(handshakes=1)
    limits = {
        "open_timeout_s": 1.5,
        "close_timeout_s": 2.5,
        "dead_after_s": 3.5,
        "message_bytes": 4096,
        "fragments": 5,
        "pings_per_s": 6.5,
        "header_bytes": 7000,
        "headers": 8,
        "handshakes": 9,
    }
    config = Config.model_validate({"limits": limits, "server": {"ping_interval_s": 0.5}})
    assert edge_of(config) == Edge(ping_interval_s=0.5, **limits)  # type: ignore[arg-type]
    assert {field.name for field in fields(Edge)} == {"ping_interval_s", "grace_s", *limits}
    assert edge_of(Config.model_validate({"server": {"latency_ms": 500}})) == Edge(grace_s=1.5)  # several sweeps
