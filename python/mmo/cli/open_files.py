"""How many descriptors a node may open: as many as its limits let in, asked of the system.

Owns the sum and the raising of the soft limit; the hard one is the operator's. Otherwise the
default of a system (1,024) is reached before any limit of ours, and strangers take the descriptors
with which a node reaches its stores. Called by `run` and `doctor`.
"""

import resource

from mmo.config import Config

BESIDE = 512
"""Descriptors of a node that are no connections of clients or servers: stores, sockets, logs,
libraries."""


def wanted(config: Config) -> int:
    """What a full node opens. Links count twice: as many handshakes of those who dial it are let
    in."""
    return config.net.connections_max + 2 * config.links.links_max + BESIDE


def raise_limit(config: Config) -> str:
    """Raise the soft limit of this process to what a full node opens, as far as the hard one lets
    it. Returns what is missing then, as a sentence; empty when nothing is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = wanted(config)
    if soft == resource.RLIM_INFINITY or soft >= need:
        return ""
    limit = need if hard == resource.RLIM_INFINITY else min(need, hard)
    if limit > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    if limit == need:
        return ""
    return (
        f"E0805 {limit} descriptors are allowed and a full node opens {need}: raise the hard limit "
        "(ulimit -Hn, LimitNOFILE), or lower net.connections_max"
    )
