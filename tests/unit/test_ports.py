"""Which servers run on a machine and on which ports: blocks, numbering, what `scale` changed."""

import os
import socket

import msgspec
import pytest
from tests.ports import PORTS

from mmo.cluster.home import AddedNode
from mmo.cluster.topology import (
    NODES_MAX,
    assign_ports,
    fresh_entry,
    listeners_of,
    scaled,
    take_block,
    with_channels,
)
from mmo.config import NodeEntry
from mmo.config.load import load_config
from mmo.errors import OperatorError

CONFIG = load_config(environment=PORTS).config
ENTRIES = CONFIG.nodes


def test_two_homes_that_start_at_once_get_different_blocks() -> None:
    first = take_block(CONFIG, 0)
    second = take_block(CONFIG, 0)
    try:
        assert first.first != second.first
        assert not {*first.redis_ports, *first.redis_bus_ports} & {
            *second.redis_ports,
            *second.redis_bus_ports,
        }
    finally:
        first.close()
        second.close()


@pytest.mark.parametrize(
    ("offset", "owner", "kind"),
    [
        (0, "held by a cluster for its block", socket.SOCK_STREAM),
        (11, "login-1 link_port", socket.SOCK_STREAM),
        (85, "redis", socket.SOCK_STREAM),
        (27, "raid-1 datagram_port", socket.SOCK_DGRAM),
    ],
)
def test_a_block_is_lost_with_one_port_of_its_own_which_is_named_with_who_has_it(
    offset: int, owner: str, kind: socket.SocketKind
) -> None:
    block = take_block(CONFIG, 0, ENTRIES)
    block.close()
    assert block.lost == ""
    port = block.first + offset
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        other = take_block(CONFIG, block.first, ENTRIES)
        other.close()
    assert other.first != block.first
    assert other.lost.startswith(f"{port} ({owner}) is taken by process {os.getpid()} (")


def test_a_port_of_a_block_that_nobody_of_the_cluster_uses_may_be_taken() -> None:
    block = take_block(CONFIG, 0, ENTRIES)
    block.close()
    outside = msgspec.structs.replace(CONFIG.redis, nodes=["127.0.0.1:1"])
    config = msgspec.structs.replace(CONFIG, redis=outside)
    for port, without in ((57, CONFIG), (82, config)):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", block.first + port))
            taken.listen()
            again = take_block(without, block.first, ENTRIES)
            again.close()
        assert (again.first, again.lost) == (block.first, "")


def test_a_block_is_not_lost_by_a_port_that_the_configuration_names() -> None:
    block = take_block(CONFIG, 0, ENTRIES)
    block.close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", block.first + 10))
        taken.listen()
        named = [
            msgspec.structs.replace(entry, client_port=block.first + 10)
            if entry.role == "login"
            else entry
            for entry in ENTRIES
        ]
        again = take_block(CONFIG, block.first, tuple(named))
        again.close()
    assert (again.first, again.lost) == (block.first, "")


def test_the_payment_door_has_an_address_of_its_own() -> None:
    cash = msgspec.structs.replace(CONFIG.cash, host="127.0.0.9")
    found = listeners_of(msgspec.structs.replace(CONFIG, cash=cash), assign_ports(ENTRIES, 7_100))
    hosts = {one.owner: one.host for one in found}
    assert hosts["cash-1 client_port"] == "127.0.0.9"
    assert hosts["login-1 client_port"] == CONFIG.cluster.host


def test_an_address_that_is_not_this_machines_is_no_want_of_ports() -> None:
    elsewhere = msgspec.structs.replace(CONFIG.cluster, link_host="192.0.2.1")
    with pytest.raises(OperatorError, match=r"cluster\.link_host 192\.0\.2\.1") as caught:
        take_block(msgspec.structs.replace(CONFIG, cluster=elsewhere), 0)
    assert caught.value.code == "E0732"


def test_a_remembered_block_is_taken_again() -> None:
    block = take_block(CONFIG, 0)
    block.close()
    again = take_block(CONFIG, block.first)
    again.close()
    assert again.first == block.first


def test_every_listener_of_a_full_block_has_a_port_of_its_own() -> None:
    nodes = tuple(NodeEntry(name=f"n{i}", role="channel", number=i + 1) for i in range(NODES_MAX))
    block = take_block(CONFIG, 0)
    block.close()
    ports = [
        port
        for node in assign_ports(nodes, block.first)
        for port in (node.client_port, node.link_port, node.datagram_port)
    ]
    ports += block.redis_ports + block.redis_bus_ports
    assert len(set(ports)) == len(ports)
    assert all(block.first < port < block.first + 100 for port in ports)
    with pytest.raises(OperatorError, match="E0706"):
        assign_ports((*nodes, NodeEntry(name="more", role="raid", number=99)), block.first)


def test_ports_of_an_entry_win_over_the_block() -> None:
    entry = NodeEntry(name="a", role="raid", number=1, client_port=5000, datagram_port=5002)
    (ports,) = assign_ports((entry,), 7100)
    assert (ports.client_port, ports.link_port, ports.datagram_port) == (5000, 7111, 5002)


@pytest.mark.parametrize("count", [1, 2, 3, 14])
def test_channels_are_added_with_numbers_and_names_of_their_own(count: int) -> None:
    nodes = with_channels(CONFIG.nodes, count)
    channels = [entry for entry in nodes if entry.role == "channel"]
    assert len(channels) == count
    assert len({entry.number for entry in nodes}) == len({entry.name for entry in nodes})
    assert len({entry.number for entry in nodes}) == len(nodes) == 5 + count
    assert channels[0] == next(entry for entry in CONFIG.nodes if entry.role == "channel")


def test_a_fresh_node_gets_a_free_number_and_name_after_the_last_of_its_role() -> None:
    channel = fresh_entry(ENTRIES, "channel")
    assert (channel.name, channel.number) == ("channel-3", 13)
    center = fresh_entry((*ENTRIES, NodeEntry(name="x", role="raid", number=3)), "center")
    assert (center.name, center.number) == ("center-2", 4)
    first = fresh_entry((), "matching")
    assert (first.name, first.number) == ("matching-1", 21)


def test_what_scale_changed_is_kept_over_a_stop_and_start() -> None:
    added = [AddedNode("channel-3", "channel", 13), AddedNode("raid-2", "raid", 32)]
    numbers = {entry.number for entry in scaled(ENTRIES, added, [12])}
    assert numbers == {entry.number for entry in ENTRIES} - {12} | {13, 32}
    fixed = {entry.number for entry in scaled(ENTRIES, added, [12], ("channel",))}
    assert fixed == {entry.number for entry in ENTRIES} | {32}
    taken = (*ENTRIES, NodeEntry(name="mine", role="raid", number=13))
    assert [e.name for e in scaled(taken, added, []) if e.number == 13] == ["mine"]


def test_ports_of_a_node_stay_its_own_when_others_come_and_go() -> None:
    before = assign_ports(ENTRIES, 7100)
    fewer = tuple(entry for entry in ENTRIES if entry.number != 12)
    after = assign_ports((*fewer, fresh_entry(ENTRIES, "raid")), 7100, before)
    kept = {ports.number: ports for ports in before}
    assert all(ports == kept[ports.number] for ports in after if ports.number in kept)
    fresh = next(ports for ports in after if ports.number not in kept)
    assert fresh.client_port == kept[12].client_port, "the first free place"
    elsewhere = assign_ports(ENTRIES, 7200, before)
    assert [ports.client_port - 100 for ports in elsewhere] == [p.client_port for p in before]
