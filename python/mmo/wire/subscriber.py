"""Who stands behind a client's address: what limits for one address are counted by.

Owns the reading of addresses as the core tells them. Pure; used by rules and by the node.
"""

import ipaddress

NETWORK_BITS = 64
"""Of an IPv6 address: one subscriber has all addresses behind it (RFC 6177)."""


def subscriber_of(address: str) -> str:
    """The address itself, of IPv6 its network alone; what is no address stands for itself."""
    try:
        found = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        network = int(found) >> NETWORK_BITS << NETWORK_BITS
        return f"{ipaddress.IPv6Address(network)}/{NETWORK_BITS}"
    return str(found)
