"""How long who asks a supervisor for a stop or a change may have to wait for it.

Owns the sums, by the configuration that what runs goes by: raids may take an hour. Asks nobody and
ends nothing. Called by the command line; the supervisor stops in the order that is here.
"""

from collections.abc import Sequence

from mmo.cluster.home import ClusterFile, Home, NodePorts
from mmo.cluster.leftovers import drain_s, limits
from mmo.cluster.node_process import ANSWER_S
from mmo.cluster.process import REAPED_S
from mmo.cluster.topology import config_of, configured_ports
from mmo.config import Config

STOP_ORDER = (("login", "cash"), ("channel", "raid"), ("matching",), ("center",))
ENDS_S = 3 * ANSWER_S + REAPED_S
"""Beyond the time that a node has: questions to it that are not answered, and its kill."""


def stop_s(home: Home, file: ClusterFile | None, names: Sequence[str] = ()) -> float:
    """Of a stop of these nodes; without names of all and of the stores, whose start, where it is
    under way, must end first."""
    config = limits(home, file)
    nodes = [node for node in _nodes(file, config) if not names or node.name in names]
    nodes_s = sum(
        max((_end_s(node, config) for node in nodes if node.role in roles), default=ANSWER_S)
        for roles in STOP_ORDER
    )
    if names:
        return nodes_s
    mysql, redis = config.mysql, config.redis
    stores_ms = max(mysql.start_ms, redis.start_ms) + max(mysql.stop_ms, redis.stop_ms)
    return nodes_s + stores_ms / 1_000 + REAPED_S


def change_s(home: Home, file: ClusterFile | None, name: str) -> float:
    """Of a drain or a restart of one node: its successor loads, it ends, the successor serves."""
    config = limits(home, file)
    nodes = [node for node in _nodes(file, config) if node.name == name]
    drains_s = max((_end_s(node, config) for node in nodes), default=ENDS_S)
    return 2 * config.supervisor.ready_ms / 1_000 + drains_s + ENDS_S


def scale_s(home: Home, file: ClusterFile | None, role: str, count: int) -> float:
    """Of a scaling: new nodes serve side by side; those too many, or those that were added in vain,
    end one after the other."""
    config = limits(home, file)
    nodes = [node for node in _nodes(file, config) if node.role == role]
    new_s = drain_s(role, config.node) + ENDS_S
    slowest_s = max((_end_s(node, config) for node in nodes), default=new_s)
    ends_s = max(count, len(nodes)) * max(slowest_s, new_s)
    return config.supervisor.ready_ms / 1_000 + ends_s + ENDS_S


def _nodes(file: ClusterFile | None, config: Config) -> list[NodePorts]:
    if file is not None:
        return file.nodes
    return [configured_ports(entry) for entry in config.nodes]


def _end_s(node: NodePorts, config: Config) -> float:
    return drain_s(node.role, config_of(config, node.number).node) + ENDS_S
