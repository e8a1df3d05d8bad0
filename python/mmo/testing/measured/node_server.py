"""The real node with a measured rule: the whole way of a message.

Owns the composition of one node: over a store in memory from which players are only claimed (HIT is
volatile and never commits), or with `--store` over the real stores (GROW is durable). Everything
else is production: intake, router, lanes, committer, outcomes, core. Measured by `bench handler`,
`bench connections` and `bench commit`.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mmo._core import NetCore
from mmo.contract import Role
from mmo.log import open_log
from mmo.node.handlers import RATES
from mmo.node.node import Node, compose
from mmo.node.settings import NodeSettings
from mmo.store.durable import DurableStore
from mmo.store.settings import StoreSettings
from mmo.testing.fake_store import FakeAccount, FakeDatabase, FakeHead, FakeStore
from mmo.testing.measured.life import announce, pin, serve, until_stopped
from mmo.testing.measured.settings import (
    RATE_UNREACHED_PER_S,
    SERVER_NUMBER,
    TOKEN_TYPE,
    core_settings,
)
from mmo.testing.measured.strike import Arena

PACKAGE = "mmo.testing.measured"
SESSION_EPOCH = 1
ROLE = Role(
    name="channel",
    systems=("strike", "grow"),
    states={"arena": lambda content, node: Arena()},
    owns_players=True,
    token_types=(TOKEN_TYPE,),
)


def node_settings() -> NodeSettings:
    """Limits of a channel server as in production; one player sends what 16 in flight need."""
    return NodeSettings(
        number=SERVER_NUMBER,
        name="measured",
        host="127.0.0.1",
        link_host="127.0.0.1",
        client_port=0,
        link_port=0,
        admin_socket="",
        generation=1,
        pump_events_max=256,
        lane_messages_max=32,
        earned_waiting_max=32,
        group_members_max=256,
        groups_in_flight_max=4,
        lease_ms=6_000,
        lease_renew_ms=1_000,
        lease_fence_ms=4_000,
        sweep_ms=1_000,
        resume_grace_ms=0,
        resident_rest_ms=2_000,
        metrics_host="",
        metrics_port=-1,
        drain_ms=1_000,
        rule_budget_ms=250,
        rule_failures_max=20,
        rule_failures_window_ms=10_000,
        leave_ms=0,
        busy_ms=0,
        room_tick_ms_max=1_000,
        player_edges_max=1,
        failpoints=False,
        seed=1,
        edges_running_max=1,
        waiting_max=1,
        waiting_per_address_max=0,
        ticket_ms=1_000,
    )


def players_in_memory(count: int) -> FakeDatabase:
    """Heads of the users 1..count, owned by this server in session epoch 1."""
    database = FakeDatabase()
    for user in range(1, count + 1):
        database.accounts[f"p{user}"] = FakeAccount(user, f"p{user}", "")
        database.heads[user] = FakeHead(session_epoch=SESSION_EPOCH, place_number=SERVER_NUMBER)
    return database


def make_core(
    public_key: bytes, key_id: str, connections_max: int, fields: Mapping[str, Any]
) -> NetCore:
    """A core as the node asks for it, with rates that a load cannot reach."""
    settings = core_settings(
        public_key=public_key, key_id=key_id, user_opcodes=[], connections_max=connections_max
    )
    rates = [(name, RATE_UNREACHED_PER_S, 1_000_000_000) for name in RATES]
    return NetCore(msgspec.structs.replace(settings, rate_classes=rates, **fields))


async def run(
    public_key: bytes,
    key_id: str,
    connections_max: int,
    players: int,
    settings: StoreSettings | None,
) -> dict[str, Any]:
    """Serve until stopped; the books of the arena and what the node counted."""
    log = open_log("measured", level="error")
    store: FakeStore | DurableStore = FakeStore(players_in_memory(players))
    if settings is not None:
        store = await DurableStore.open(settings)
    engine = compose(
        node_settings(), ROLE, store, None, log=log, systems_package=PACKAGE, edges_package=PACKAGE
    )

    def make(incarnation: int, fields: Mapping[str, Any]) -> NetCore:
        return make_core(public_key, key_id, connections_max, fields)

    node = Node(engine, make, ("channel",))
    await node.start()
    announce(node.ports["client"])
    await until_stopped()
    counts = {key: engine.metrics.counts[key] for key in ("events_total", "batches_total")}
    found: dict[str, Any] = {**engine.states["arena"].books(), **counts}
    found["store"] = store.stats()
    node.stop(0)
    await node.run()
    await store.close()
    return found


def main() -> None:
    """Command line of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--public-key", required=True, help="Ed25519 public key in hex")
    parser.add_argument("--key-id", required=True)
    parser.add_argument("--players", type=int, default=0, help="in memory")
    parser.add_argument("--store", type=Path, default=None, help="StoreSettings as JSON")
    parser.add_argument("--connections-max", type=int, default=1_024)
    parser.add_argument("--cpu", type=int, default=-1)
    given = parser.parse_args()
    pin(given.cpu)
    key = bytes.fromhex(given.public_key)
    settings = None
    if given.store is not None:
        settings = msgspec.json.decode(given.store.read_bytes(), type=StoreSettings)
    serve(lambda: run(key, given.key_id, given.connections_max, given.players, settings))


if __name__ == "__main__":
    main()
