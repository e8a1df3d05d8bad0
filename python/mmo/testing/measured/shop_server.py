"""The real channel role as one node over real stores: every rule of the economy, nothing measured
apart.

Owns the composition only; limits are those of a channel server, rates are wide enough that a load
passes them. Measured by `bench economy` and `bench catalogue`.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mmo._core import NetCore
from mmo.content import Content, load_content
from mmo.log import open_log
from mmo.node.handlers import RATES
from mmo.node.node import Node, compose
from mmo.roles.channel import ROLE
from mmo.store.durable import DurableStore
from mmo.store.settings import StoreSettings
from mmo.testing.measured.life import announce, pin, serve, until_stopped
from mmo.testing.measured.node_server import node_settings
from mmo.testing.measured.samples import Samples
from mmo.testing.measured.settings import RATE_UNREACHED_PER_S, core_settings

FRAME_BYTES_MAX = 16_384  # as in production: a page of the catalogue is 8 KiB
GENERATION = 1


async def run(given: argparse.Namespace, settings: StoreSettings, content: Content) -> Any:
    """Serve until stopped; what the store counted and where the time went."""
    store = await DurableStore.open(settings)
    engine = compose(
        msgspec.structs.replace(node_settings(), group_members_max=given.group_max),
        ROLE,
        store,
        content,
        log=open_log("measured", level="error"),
        systems_package="mmo.systems",
        edges_package="mmo.edges",
    )

    def make(incarnation: int, fields: Mapping[str, Any]) -> NetCore:
        core = core_settings(
            public_key=bytes.fromhex(given.public_key),
            key_id=given.key_id,
            user_opcodes=[],
            connections_max=given.connections_max,
        )
        rates = [(name, RATE_UNREACHED_PER_S, 1_000_000_000) for name in RATES]
        limits = {"frame_bytes_max": FRAME_BYTES_MAX, "ring_bytes": 2 * FRAME_BYTES_MAX}
        return NetCore(msgspec.structs.replace(core, rate_classes=rates, **limits, **fields))

    node = Node(engine, make, ("center", "channel"))
    await node.start()
    samples = Samples(lambda: bool(store.stats()["commit_members"]))
    if given.sample:
        samples.start()
    announce(node.ports["client"])
    await until_stopped()
    found = {"samples": samples.stop(), "store": store.stats()}
    node.stop(0)
    await node.run()
    await store.close()
    return found


def main() -> None:
    """Command line of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--public-key", required=True, help="Ed25519 public key in hex")
    parser.add_argument("--key-id", required=True)
    parser.add_argument("--store", type=Path, required=True, help="StoreSettings as JSON")
    parser.add_argument("--content", type=Path, required=True, help="directory of tables")
    parser.add_argument("--connections-max", type=int, default=4_096)
    parser.add_argument("--group-max", type=int, default=64)
    parser.add_argument("--sample", action="store_true", help="sample the Python thread")
    parser.add_argument("--cpu", type=int, default=-1)
    given = parser.parse_args()
    pin(given.cpu)
    settings = msgspec.json.decode(given.store.read_bytes(), type=StoreSettings)
    content = load_content(given.content)
    serve(lambda: run(given, settings, content))


if __name__ == "__main__":
    main()
