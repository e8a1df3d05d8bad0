"""`pay` against a real door: it dials and trusts the door that is there, and changes nothing of it.

Owns the way from the configuration to the door; what the door answers is tested with the door.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.unit.test_payment_door import Answer, Door

from mmo.cli import pay as command
from mmo.cluster.home import ClusterFile, Home, NodePorts
from mmo.config.load import Loaded, load_config
from mmo.errors import OperatorError
from mmo.testing.world import World

HOST = "127.0.0.2"  # of the cash node alone; the others have 127.0.0.1
NOTICE = {"order": "o-1", "account": "Ann", "amount": 5, "kind": "charge", "refund_of": ""}
NODES = f'''
[[nodes]]
name = "cash-1"
role = "cash"
number = 41
override.cash.host = "{HOST}"
'''


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """A configuration whose cash node has a host of its own."""
    file = tmp_path / "cluster.toml"
    file.write_text(NODES)
    return load_config(file, {})


@pytest.fixture
def door(tmp_path: Path, world: Callable[..., World], loaded: Loaded) -> Iterator[Door]:
    """The door of that node."""
    opened = Door(tmp_path, world, loaded.for_node(loaded.config.nodes[0]))
    yield opened
    opened.close()


def written_home(directory: Path, port: int, role: str = "cash") -> Path:
    """A home whose one node has its client port there."""
    home = Home(directory)
    home.create()
    ports = NodePorts("cash-1", role, 41, port, 0, 0)
    home.write(ClusterFile(1, "", 0, "", [ports], [], ""))
    return directory


def test_pay_dials_and_trusts_the_door_of_the_cash_node(
    tmp_path: Path, door: Door, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "time", SimpleNamespace(time=door.now_s))
    home = written_home(tmp_path / "home", door.server.port)
    before = {path.name: path.read_bytes() for path in (home / "secrets").iterdir()}
    sending = asyncio.to_thread(command.send, home, loaded, NOTICE)
    answer: Answer = door.game.run(sending)
    assert answer == (200, {"order": "o-1", "status": "booked"})
    assert {path.name: path.read_bytes() for path in (home / "secrets").iterdir()} == before


def test_pay_makes_no_certificate_where_no_door_ever_was(
    tmp_path: Path, door: Door, loaded: Loaded
) -> None:
    home = written_home(tmp_path / "home", door.server.port)
    made = home / "secrets" / "payment-door-41.pem"
    made.unlink()
    with pytest.raises(OperatorError, match="E0719") as refused:
        command.send(home, loaded, NOTICE)
    assert str(made) in refused.value.cause
    assert not made.exists()


def test_pay_wants_a_cash_server(tmp_path: Path, loaded: Loaded) -> None:
    home = written_home(tmp_path / "home", 1, role="login")
    with pytest.raises(OperatorError, match="has no cash server"):
        command.send(home, loaded, NOTICE)
