"""What a killed supervisor left: its nodes and stores, ended in order, each in the time it has.

Owns the time that each of them gets, which is what its own supervisor would have given it. Starts
nothing and writes no file. Called by the next supervisor, and by `stop` where there is none.
"""

import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mmo.cluster.home import ClusterFile, Home, is_store
from mmo.cluster.node_process import AFTER_DRAIN_S
from mmo.cluster.process import KILLED_S, ProcessId, end_process, is_alive, signal_process
from mmo.cluster.topology import config_of
from mmo.config import Config
from mmo.config import Node as NodeConfig
from mmo.config.load import load_config
from mmo.errors import ConfigError

LOOK_S = 0.01


class Ended(NamedTuple):
    """Names in the order of their end; `killed`: those that did not end by themselves."""

    names: list[str]
    killed: list[str]

    @property
    def killed_nodes(self) -> list[str]:
        """Those of them that may not have written what they had not answered yet."""
        return [name for name in self.killed if not is_store(name)]


def end_leftovers(home: Home, file: ClusterFile) -> Ended:
    """End what lives of a file's processes: nodes side by side, then stores. Takes as long as raids
    may take. The caller holds the home: a supervisor would start them again."""
    config = limits(home, file)
    names: list[str] = []
    killed: list[str] = []
    for group in _groups(file):
        graces_s = {name: grace_s(name, file, config) for name in group}
        killed += _end(group, graces_s)
        names += group
    return Ended(names, killed)


def limits(home: Home, file: ClusterFile | None) -> Config:
    """The configuration by which what is left runs, and so ends. Where it cannot be read any more
    the box's own does: nobody keeps a cluster for want of its file."""
    text = home.config_in_use(file)
    try:
        return load_config(Path(text) if text else None).config
    except ConfigError:
        return load_config(environment={}).config


def longest_s(home: Home, file: ClusterFile | None) -> float:
    """How long `end_leftovers` may take; 0 when nothing is left."""
    if file is None:
        return 0.0
    config = limits(home, file)
    return sum(
        max((grace_s(name, file, config) + KILLED_S for name in group), default=0.0)
        for group in _groups(file)
    )


def grace_s(name: str, file: ClusterFile, config: Config) -> float:
    """How long a process may take to end by itself: a node to send its players away, or to let its
    raids end, and to finish what is on its way to the database."""
    if name == "mysql":
        return config.mysql.stop_ms / 1_000
    if is_store(name):
        return config.redis.stop_ms / 1_000
    named = {node.name: node for node in file.nodes}
    node = named.get(name.removesuffix(" successor"))
    if node is None:
        return drain_s("", config.node)
    return drain_s(node.role, config_of(config, node.number).node)


def drain_s(role: str, settings: NodeConfig) -> float:
    """How long a node of a role may take to end: only raid servers wait for what runs there."""
    longest_ms = max(settings.leave_ms, settings.busy_ms)
    before_ms = longest_ms if role == "raid" else settings.leave_ms
    return (before_ms + settings.drain_ms) / 1_000 + AFTER_DRAIN_S


def _groups(file: ClusterFile) -> tuple[dict[str, ProcessId], dict[str, ProcessId]]:
    """Living nodes, living stores."""
    left = {name: process for name, process in file.processes.items() if is_alive(process)}
    nodes = {name: process for name, process in left.items() if not is_store(name)}
    return nodes, {name: process for name, process in left.items() if is_store(name)}


def _end(group: Mapping[str, ProcessId], graces_s: Mapping[str, float]) -> list[str]:
    """SIGTERM to all, SIGKILL to each whose grace is over. Returns the names of the killed."""
    killed: list[str] = []
    began = time.monotonic()
    for process in group.values():
        signal_process(process, signal.SIGTERM)
    waiting = dict(group)
    while waiting:
        for name, process in list(waiting.items()):
            if not is_alive(process):
                del waiting[name]
            elif time.monotonic() - began >= graces_s[name]:
                del waiting[name]
                if not end_process(process, 0.0):
                    killed.append(name)
        if waiting:
            time.sleep(LOOK_S)
    return killed
