"""Which servers run on this machine and on which ports.

Owns the search for a free block of ports and the numbering inside it. A block is held by a
listening guard socket, so two clusters that start at once never share one. Never opens a game
port. Called by the supervisor and by `doctor`.
"""

import errno
import itertools
import socket
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from mmo.cluster.home import AddedNode, NodePorts
from mmo.cluster.listeners import who_listens
from mmo.config import Config, NodeEntry
from mmo.config.load import Loaded
from mmo.errors import OperatorError

BLOCK_PORTS = 100
NODES_MAX = 20  # nodes that take their ports from a block: three ports each from 10 to 69
_GUARD = 0
_NODES = 10
_PORTS_A_NODE = 3
_REDIS = 80
_REDIS_BUS = 90
_REDIS_SERVERS = 6
_REDIS_HOST = "127.0.0.1"
_PORT_LAST = 65_535
_WITHOUT_CLIENTS = ("matching",)
_TAKEN = (errno.EADDRINUSE, errno.EACCES)
_NUMBER_FIRST = {"login": 0, "center": 1, "channel": 10, "matching": 20, "raid": 30, "cash": 40}
"""The first server of a role without any is numbered on from here."""


class Listener(NamedTuple):
    """An address that a process of a cluster listens on, and whose it is."""

    host: str
    port: int
    owner: str
    datagrams: bool = False

    def is_taken(self) -> bool:
        """Whether we cannot have it. An address that is not this machine's is nobody's."""
        return self._fault() in _TAKEN

    def taken_by(self) -> str:
        """What to say of one that is: `7112 (center-1 client_port) is taken by process 8 (nc)`."""
        if self._fault() == errno.EACCES:
            return f"{self.port} ({self.owner}) needs a privilege: choose one of 1024 or more"
        who = who_listens(self.port, datagrams=self.datagrams)
        return f"{self.port} ({self.owner}) is taken by {who}"

    def _fault(self) -> int | None:
        try:
            _bound(self.host, self.port, datagrams=self.datagrams).close()
        except OSError as error:
            return error.errno
        return 0


class PortBlock:
    """A block of 100 ports that is ours while this object is open. `lost`: why it is not the
    remembered one; empty when it is, or when none was."""

    def __init__(self, first: int, guard: socket.socket, lost: str = "") -> None:
        self.first = first
        self.lost = lost
        self._guard = guard

    @property
    def redis_ports(self) -> list[int]:
        """Ports of the six Redis servers."""
        return [self.first + _REDIS + index for index in range(_REDIS_SERVERS)]

    @property
    def redis_bus_ports(self) -> list[int]:
        """Ports on which they reach each other."""
        return [self.first + _REDIS_BUS + index for index in range(_REDIS_SERVERS)]

    def close(self) -> None:
        """Let others have the block."""
        self._guard.close()


def take_block(
    config: Config,
    remembered: int,
    nodes: tuple[NodeEntry, ...] = (),
    kept: Sequence[NodePorts] = (),
) -> PortBlock:
    """The remembered block if it is free, else the first free one from `cluster.port_first`: of a
    block only those ports matter that the stores and `nodes`, with the ports that they `kept`, will
    listen on. Raises `OperatorError` E0705 when there is none, E0732 for an address that is not
    this machine's."""
    first = config.cluster.port_first
    candidates = [remembered] if remembered else []
    candidates += list(range(first, _PORT_LAST - BLOCK_PORTS, BLOCK_PORTS))
    lost = ""
    for candidate in candidates:
        guard, taken = _hold(config, candidate, nodes, kept)
        if guard is not None:
            return PortBlock(candidate, guard, lost)
        if candidate == remembered and taken is not None:
            lost = taken.taken_by()
    raise OperatorError(
        "E0705",
        f"no free block of {BLOCK_PORTS} ports from {first} upwards",
        "set cluster.port_first elsewhere, or stop what listens there",
    )


def config_of(config: Config, number: int) -> Config:
    """The configuration as a node sees it: with the `override` tables of its entry, where it has
    one. Raises `ConfigError`."""
    for entry in config.nodes:
        if entry.override and entry.number == number:
            return Loaded(config, msgspec.to_builtins(config), {}).for_node(entry)
    return config


def listeners_of(config: Config, nodes: Sequence[NodePorts]) -> list[Listener]:
    """What these nodes listen on; a port that the system picks is none yet."""
    found = []
    for node in nodes:
        own = config_of(config, node.number)
        owner = f"{node.name} link_port"
        found.append(Listener(config.cluster.link_host, node.link_port, owner))
        if node.role not in _WITHOUT_CLIENTS:
            owner = f"{node.name} client_port"
            host = own.cash.host if node.role == "cash" else config.cluster.host
            found.append(Listener(host, node.client_port, owner))
        if node.role == "raid":
            owner = f"{node.name} datagram_port"
            found.append(Listener(config.cluster.host, node.datagram_port, owner, True))
        if own.metrics.enabled:
            owner = f"{node.name} metrics_port"
            found.append(Listener(own.metrics.host, node.metrics_port, owner))
    return [one for one in found if one.port]


def configured_ports(entry: NodeEntry) -> NodePorts:
    """Ports of a node that runs without a cluster home, such as under systemd; 0: any."""
    return NodePorts(
        entry.name,
        entry.role,
        entry.number,
        entry.client_port,
        entry.link_port,
        entry.datagram_port,
        entry.metrics_port,
    )


def with_channels(nodes: tuple[NodeEntry, ...], count: int) -> tuple[NodeEntry, ...]:
    """The nodes with exactly `count` channel servers, numbered on from the last configured one."""
    channels = [entry for entry in nodes if entry.role == "channel"]
    others = [entry for entry in nodes if entry.role != "channel"]
    while len(channels) < count:
        channels.append(fresh_entry((*others, *channels), "channel"))
    place = next((i for i, entry in enumerate(nodes) if entry.role == "channel"), len(others))
    return (*others[:place], *channels[:count], *others[place:])


def fresh_entry(nodes: tuple[NodeEntry, ...], role: str) -> NodeEntry:
    """One more server of a role: the first free name, and the first free number after the last of
    its kind."""
    taken = {entry.number for entry in nodes}
    names = {entry.name for entry in nodes}
    last = max((entry.number for entry in nodes if entry.role == role), default=_NUMBER_FIRST[role])
    number = next(number for number in itertools.count(last + 1) if number not in taken)
    name = next(f"{role}-{i}" for i in itertools.count(1) if f"{role}-{i}" not in names)
    return entry_of(AddedNode(name, role, number))


def entry_of(node: AddedNode | NodePorts) -> NodeEntry:
    """The entry of a node that no configuration names."""
    fields = {"name": node.name, "role": node.role, "number": node.number}
    return msgspec.convert(fields, NodeEntry)


def scaled(
    nodes: tuple[NodeEntry, ...],
    added: Sequence[AddedNode],
    removed: Sequence[int],
    fixed_roles: tuple[str, ...] = (),
) -> tuple[NodeEntry, ...]:
    """The configured nodes with what `scale` changed since, but for roles whose count this start
    fixes. A configuration that names an added number or name by now wins."""
    kept = [entry for entry in nodes if entry.role in fixed_roles or entry.number not in removed]
    taken = {entry.number for entry in kept} | {entry.name for entry in kept}
    for node in added:
        if node.role not in fixed_roles and not {node.number, node.name} & taken:
            kept.append(entry_of(node))
    return tuple(kept)


def assign_ports(
    nodes: tuple[NodeEntry, ...], first: int, kept: Sequence[NodePorts] = ()
) -> list[NodePorts]:
    """Ports of every node: those that it had in this block, else the first free ones. Raises
    `OperatorError` E0706 for too many."""
    if len(nodes) > NODES_MAX:
        raise OperatorError(
            "E0706",
            f"{len(nodes)} nodes on one machine, more than {NODES_MAX} that a block holds",
            "run the others elsewhere with mmo-cluster run",
        )
    numbers = {entry.number for entry in nodes}
    places: dict[int, int] = {}
    for ports in kept:
        place, rest = divmod(ports.metrics_port - 2 - first - _NODES, _PORTS_A_NODE)
        if ports.number in numbers and not rest and 0 <= place < NODES_MAX:
            places[ports.number] = place
    free = (place for place in range(NODES_MAX) if place not in set(places.values()))
    assigned = []
    for entry in nodes:
        place = places[entry.number] if entry.number in places else next(free)
        port = first + _NODES + _PORTS_A_NODE * place
        assigned.append(
            NodePorts(
                entry.name,
                entry.role,
                entry.number,
                entry.client_port or port,
                entry.link_port or port + 1,
                entry.datagram_port or port + 2,
                # Beside the datagrams on the same number: one is UDP, the other TCP.
                entry.metrics_port or port + 2,
            )
        )
    return assigned


def _hold(
    config: Config, first: int, nodes: tuple[NodeEntry, ...], kept: Sequence[NodePorts]
) -> tuple[socket.socket | None, Listener | None]:
    """The listening guard of a block whose used ports are all free; else what is taken of it."""
    used = listeners_of(config, assign_ports(nodes, first, kept))
    hold = Listener(config.cluster.link_host, first + _GUARD, "held by a cluster for its block")
    try:
        guard = _bound(hold.host, hold.port)
    except OSError as error:
        if error.errno in _TAKEN:
            return None, hold
        raise OperatorError(
            "E0732",
            f"cluster.link_host {hold.host} cannot be listened on: {error.strerror or error}",
            "set cluster.link_host to an address of this machine",
        ) from error
    block = PortBlock(first, guard)
    try:
        guard.listen(1)
    except OSError:  # another cluster was quicker by a moment
        block.close()
        return None, hold
    if not config.redis.is_external:
        ports = [*block.redis_ports, *block.redis_bus_ports]
        used += [Listener(_REDIS_HOST, port, "redis") for port in ports]
    named = {port for entry in nodes for port in _ports_named(entry)}
    for listener in used:
        # A port that the configuration names is the same in every block: moving frees none.
        is_of_block = first <= listener.port < first + BLOCK_PORTS and listener.port not in named
        if is_of_block and listener.is_taken():
            block.close()
            return None, listener
    return guard, None


def _ports_named(entry: NodeEntry) -> tuple[int, ...]:
    return (entry.client_port, entry.link_port, entry.datagram_port, entry.metrics_port)


def _bound(host: str, port: int, *, datagrams: bool = False) -> socket.socket:
    """Raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    probe = socket.socket(family, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM)
    try:
        if not datagrams:
            # Connections in TIME_WAIT do not make a port busy; a listener does.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
    except OSError:
        probe.close()
        raise
    return probe
