"""Drains, restarts and scalings as the supervisor makes them: one at a time, remembered, undone in
order. Nodes are played by objects that end when they are told."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmo.cluster.changes import Changes
from mmo.cluster.home import ClusterFile, Home, NodePorts
from mmo.cluster.supervisor import Supervisor as RealSupervisor
from mmo.cluster.topology import assign_ports, with_channels
from mmo.config.load import load_config
from mmo.errors import OperatorError

CONFIG = load_config(environment={}).config


class Node:
    """A node that serves at once and drains when `may_end` is set."""

    def __init__(self, ports: NodePorts, may_end: asyncio.Event) -> None:
        self.ports, self.name, self.error = ports, ports.name, ""
        self.state = "starting"
        self.child = SimpleNamespace(pid=ports.number)
        self._may_end = may_end

    async def look(self, settings: Any) -> None:
        self.state = "ready"

    async def stop(self, settings: Any, *, move: bool) -> dict[str, Any]:
        assert move, "a change sends players elsewhere"
        await self._may_end.wait()
        self.state = "stopped"
        return {"name": self.name, "unflushed": 0, "killed": False}


class Supervisor:
    """What `Changes` needs of the supervisor."""

    def __init__(self) -> None:
        self.state = "ready"
        self.config, self.configured = CONFIG, CONFIG.nodes
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.written: list[list[str]] = []
        ports = assign_ports(CONFIG.nodes, 7100)
        self.file = ClusterFile(1, "", 7100, "", ports, [], "")
        self.nodes = [Node(one, self.may_end) for one in ports]
        self.home = SimpleNamespace(log_file=lambda name: name, loaded_file=lambda name: name)

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def spawn_node(self, ports: NodePorts) -> Node:
        self.nodes.append(Node(ports, self.may_end))
        return self.nodes[-1]

    def write_file(self) -> None:
        self.written.append([node.name for node in self.file.nodes])

    def record(self) -> None:
        pass

    async def all_are_linked(self) -> bool:
        return True


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    monkeypatch.setattr("mmo.cluster.changes.HEARD_S", 0.0)
    return Supervisor()


def changes_of(supervisor: Supervisor) -> Changes:
    return Changes(supervisor)  # type: ignore[arg-type]


async def test_a_second_change_is_refused_while_one_runs(supervisor: Supervisor) -> None:
    changes = changes_of(supervisor)
    supervisor.may_end.clear()
    first = asyncio.create_task(changes.drain("channel-1"))
    await asyncio.sleep(0)
    with pytest.raises(OperatorError, match="E0723") as caught:
        await changes.drain("channel-2")
    assert "drain channel-1" in caught.value.cause
    supervisor.may_end.set()
    assert (await first)["name"] == "channel-1"
    assert (await changes.drain("channel-2"))["name"] == "channel-2"


async def test_nothing_is_changed_while_the_cluster_starts(supervisor: Supervisor) -> None:
    supervisor.state = "starting"
    with pytest.raises(OperatorError, match="E0715"):
        await changes_of(supervisor).scale("channel", 3)
    assert supervisor.written == []


@pytest.mark.parametrize(("role", "count"), [("tavern", 1), ("channel", 0)])
async def test_a_role_that_is_none_or_nobody_of_it_is_refused(
    supervisor: Supervisor, role: str, count: int
) -> None:
    with pytest.raises(OperatorError, match="E0713"):
        await changes_of(supervisor).scale(role, count)


async def test_scaling_up_and_down_is_written_before_and_after(supervisor: Supervisor) -> None:
    changes = changes_of(supervisor)
    said = await changes.scale("channel", 4)
    assert said["added"] == ["channel-3", "channel-4"]
    assert [one.number for one in supervisor.file.added] == [13, 14]
    assert supervisor.written[0][-1] == "channel-3", "known before its process looks for its ports"
    said = await changes.scale("channel", 1)
    assert [one["name"] for one in said["removed"]] == ["channel-4", "channel-3", "channel-2"]
    assert supervisor.file.added == [] and supervisor.file.removed == [12]
    assert "channel-2" not in [node.name for node in supervisor.nodes]


async def test_a_configured_node_that_was_scaled_away_comes_back_as_itself(
    supervisor: Supervisor,
) -> None:
    changes = changes_of(supervisor)
    before = next(ports for ports in supervisor.file.nodes if ports.number == 12)
    await changes.scale("channel", 1)
    said = await changes.scale("channel", 2)
    assert said["added"] == ["channel-2"]
    assert supervisor.file.added == [] and supervisor.file.removed == []
    assert next(ports for ports in supervisor.file.nodes if ports.number == 12) == before


@pytest.mark.parametrize("was_known", [False, True])
async def test_what_was_added_in_vain_is_not_there_at_the_next_start(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, was_known: bool
) -> None:
    changes = changes_of(supervisor)
    if was_known:
        await changes.scale("channel", 1)
    before = [one.name for one in supervisor.file.nodes], list(supervisor.file.removed)

    async def fails(node: Node, settings: Any) -> None:
        node.state = "failed" if node.name == "channel-3" else "ready"

    monkeypatch.setattr(Node, "look", fails)
    with pytest.raises(OperatorError, match=r"E0709.*channel-3"):
        await changes.scale("channel", 4)
    after = [one.name for one in supervisor.file.nodes], list(supervisor.file.removed)
    assert after == before and supervisor.file.added == []
    assert sorted(node.name for node in supervisor.nodes) == sorted(before[0])
    assert supervisor.written[-1] == before[0]


def a_start(home: Path, before: ClusterFile | None, channels: int | None) -> RealSupervisor:
    """A supervisor as `start [--channels N]` composes it, up, with nodes that are played."""

    async def prepare(secrets: Any, socket: str) -> str:
        return ""

    nodes = CONFIG.nodes if channels is None else with_channels(CONFIG.nodes, channels)
    fixed = () if channels is None else ("channel",)
    made = RealSupervisor(Home(home), CONFIG, nodes, "", prepare, fixed_roles=fixed)
    made.home.create()
    made._open_file(before, str(home))
    assert made._block is not None and made.file is not None
    made._block.close()
    may_end = asyncio.Event()
    may_end.set()

    def spawn_node(ports: NodePorts) -> Any:
        node: Any = Node(ports, may_end)
        made.nodes.append(node)
        return node

    async def all_are_linked() -> bool:
        return True

    made.spawn_node = spawn_node  # type: ignore[method-assign]
    made.all_are_linked = all_are_linked  # type: ignore[method-assign]
    for ports in made.file.nodes:
        spawn_node(ports)
    made.state = "ready"
    return made


def channels_of(supervisor: RealSupervisor) -> list[tuple[str, int, int]]:
    assert supervisor.file is not None
    nodes = supervisor.file.nodes
    return [(one.name, one.number, one.client_port) for one in nodes if one.role == "channel"]


@pytest.mark.parametrize(
    ("begun_with", "scaled_to", "names"),
    [
        (4, (5,), [1, 2, 3, 4, 5]),
        (4, (), [1, 2, 3, 4]),
        (4, (5, 3), [1, 2, 3]),
        (4, (1,), [1]),
        (1, (2,), [1, 2]),
        (1, (), [1]),
        (1, (3,), [1, 2, 3]),
        (None, (3,), [1, 2, 3]),
    ],
)
async def test_what_ran_comes_again_whatever_number_it_began_with(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    begun_with: int | None,
    scaled_to: tuple[int, ...],
    names: list[int],
) -> None:
    monkeypatch.setattr("mmo.cluster.changes.HEARD_S", 0.0)
    first = a_start(tmp_path, None, begun_with)
    for count in scaled_to:
        await first.answer({"ask": "scale", "role": "channel", "count": count})
    ran = sorted(channels_of(first))
    assert [name for name, _, _ in ran] == [f"channel-{number}" for number in names]
    again = a_start(tmp_path, first.home.read() or first.file, None)
    assert sorted(channels_of(again)) == ran
    assert len(channels_of(a_start(tmp_path, again.file, 2))) == 2, "unless another is asked for"
