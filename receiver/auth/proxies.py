"""Who the peer is behind proxies: told by ``X-Forwarded-For``, and believed from those that are trusted to say it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

HEADER = b"x-forwarded-for"

Address = IPv4Address | IPv6Address


class Proxies:
    """The trusted ones, as addresses and networks. Raises ValueError for what is neither."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._networks = [ip_network(network) for network in trusted]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def client(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The address of the client: the rightmost that no trusted proxy has.

        Each proxy adds at the right whom it was called by, so what stands left of an address that is not trusted is
        only that one's word. Where an entry is no address, it is the proxy that passed it on.
        """
        client = _address(peer)
        if client is None:
            return peer
        forwarded = [value for name, value in headers if name.lower() == HEADER]
        entries = b",".join(forwarded).decode("latin-1").split(",") if forwarded else []
        while entries and self._trusts(client):
            further = _address(entries.pop().strip())
            if further is None:
                break
            client = further
        return str(client)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def network_of(address: str) -> str:
    """Whom an address belongs to, to count by: an IPv6 network of 64 bits is one peer's. As it is, if it is none."""
    known = _address(address)
    if isinstance(known, IPv6Address):
        return str(ip_network((int(known) >> 64 << 64, 64)))
    return address if known is None else str(known)


def _address(text: str) -> Address | None:
    """An address, also with a port behind it; one of IPv4 in the clothes of IPv6 is one of IPv4."""
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
