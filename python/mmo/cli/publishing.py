"""Which code a start runs: what lies on the disk, named in the store before any node asks.

Owns the naming at the start of a cluster and of a first node without one. A cluster that runs is
changed by `reload` alone. Called by the supervisor's composition and by `node_runner`.
"""

import contextlib
import getpass
import socket as network
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmo.cluster.secret_files import Secrets
from mmo.config import Config
from mmo.errors import OperatorError, StoreError
from mmo.store.code_rows import WHO_CHARACTERS_MAX, CodeSwitch

if TYPE_CHECKING:
    from mmo.node.bundle import Bundle
    from mmo.store import Store


def who() -> str:
    """Who changes the code, as it is remembered: `user@machine`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{network.gethostname()}"[:WHO_CHARACTERS_MAX]


def warm(config: Config) -> None:
    """Compile what lies on the disk while there is nothing else to do; faults are told later."""
    from mmo.cli.sources import read_sources
    from mmo.node.generation import compile_hot

    with contextlib.suppress(OperatorError):
        bundle = read_sources(config).bundle
        for path, text in bundle.files.items():
            if path.endswith(".py"):
                compile_hot(bundle, path, text)


async def publish(
    config: Config, secrets: Secrets, mysql_socket: str, numbers: Sequence[int]
) -> str:
    """Name the code on the disk as what this start of the servers `numbers` runs; returns what to
    print. Where other servers of the cluster are alive, theirs goes on. Raises `OperatorError`."""
    from mmo.cli.compose import store_settings
    from mmo.cli.sources import read_sources
    from mmo.node.checking import read_through
    from mmo.store import open_store

    bundle = read_sources(config).bundle
    try:
        store = await open_store(store_settings(config, secrets, mysql_socket, []))
        try:
            if (await store.code()).bundle != bundle.digest:
                read_through(bundle, set())
            return await name_at_start(store, bundle, numbers)
        finally:
            await store.close()
    except StoreError as error:
        raise OperatorError(
            "E0214", f"the database does not take the code: {error}", "see [mysql]"
        ) from error


async def name_at_start(store: "Store", bundle: "Bundle", numbers: Sequence[int]) -> str:
    """Let the row say that `bundle` decides, unless servers other than `numbers` are alive."""
    row = await store.code()
    if row.bundle != bundle.digest:
        await store.add_bundle(bundle.digest, bundle.packed)
    others = [
        lease for lease in await store.leases() if lease.alive and lease.number not in numbers
    ]
    if not others:
        # A reload or a rolling restart that the end of everything cut off.
        await store.end_canary(row.canary, "all servers were stopped")
        await store.end_rolling()
    if row.bundle == bundle.digest:
        return f"generation {row.generation}"
    if others and row.bundle:
        return f"generation {row.generation} goes on; mmo-cluster reload takes the code on the disk"
    first = not row.bundle
    switch = CodeSwitch(
        kind="first" if first else "start",
        generation=row.generation if first else row.next,
        bundle=bundle.digest,
        before=row.generation,
        who=who(),
        holders=None if first else tuple((number, 0) for number in numbers),
    )
    done = await store.switch_code(switch)
    return f"generation {switch.generation if done else row.generation}"


async def name_first(store: "Store", config: Config) -> tuple["Bundle", int]:
    """The code that decides and its number; the very first node of a cluster without a supervisor
    names what lies on its disk. Raises `OperatorError`, `StoreUnavailable`."""
    from mmo.cli.sources import read_sources
    from mmo.node.bundle import Bundle

    row = await store.code(settled=True)
    if not row.bundle:
        bundle = read_sources(config).bundle
        await store.add_bundle(bundle.digest, bundle.packed)
        switch = CodeSwitch(
            kind="first", generation=row.generation, bundle=bundle.digest, before=row.generation,
            who=who(),
        )  # fmt: skip
        await store.switch_code(switch)
        row = await store.code(settled=True)
    packed = await store.bundle(row.bundle)
    if packed is None:
        raise OperatorError(
            "E0421", f"the store has no code {row.bundle[:8]}", "mmo-cluster reload"
        )
    return Bundle.unpacked(packed, row.bundle), row.generation
