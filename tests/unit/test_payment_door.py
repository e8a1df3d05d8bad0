"""The payment door over real HTTPS: who is let in, who is refused and logged, what repeats get."""

import asyncio
import contextlib
import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mmo.cli.payment_server import PaymentServer, trusted_file, trusting
from mmo.cluster.certificate import ensure_certificate
from mmo.cluster.home import Home, NodePorts
from mmo.cluster.secret_files import ensure_secrets, read_secrets
from mmo.config import Config
from mmo.config.load import load_config
from mmo.edges.payment import PATH, SIGNATURE_HEADER, sign
from mmo.errors import ConfigError
from mmo.roles.cash import ROLE
from mmo.state.grant import Bundle
from mmo.state.place import AccountRegistered
from mmo.testing.world import World

Answer = tuple[int, dict[str, Any]]
CONFIG = load_config(environment={"MMO__CASH__BURST": "40", "MMO__CASH__AMOUNT_MAX": "1000"}).config


class Door:
    """A cash node in a world of its own, its door open on a free port."""

    def __init__(
        self, directory: Path, world: Callable[..., World], config: Config = CONFIG
    ) -> None:
        home = Home(directory / "home")
        ensure_secrets(home, config)
        secrets = read_secrets(home, config)
        self.secret = secrets.payment
        self.game = world(ROLE)
        self.store = self.game.store
        self.game.run(self.store.write(AccountRegistered("Ann", "$hash", 1)))
        ports = NodePorts("cash-1", "cash", 41, 0, 0, 0)
        self.server = PaymentServer(home, config, ports, secrets, self.game.engine)
        self.game.run(self._open())
        self.context = trusting(trusted_file(home, config, ports.number))

    async def _open(self) -> None:
        self.server.start()

    def close(self) -> None:
        self.game.run(self.server.stop())

    def now_s(self) -> int:
        return self.game.clock() // 1_000

    def pays(self, at_s: int | None = None, secret: bytes | None = None, **notice: Any) -> Answer:
        """A notice of Ann's, signed now unless told otherwise."""
        given = {"order": "o-1", "account": "Ann", "amount": 500, **notice}
        body = json.dumps(given).encode()
        header = sign(secret or self.secret, self.now_s() if at_s is None else at_s, body)
        return self.sends(body, {SIGNATURE_HEADER: header})

    def sends(
        self, body: bytes, headers: dict[str, str], method: str = "POST", path: str = PATH
    ) -> Answer:
        """One HTTPS request from another thread, while the world's loop runs."""

        def request() -> Answer:
            with contextlib.closing(
                http.client.HTTPSConnection(
                    "127.0.0.1", self.server.port, timeout=10, context=self.context
                )
            ) as connection:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                text = answer.read()
                is_json = answer.headers.get_content_type() == "application/json"
                return answer.status, json.loads(text) if is_json else {}

        answered: Answer = self.game.run(asyncio.to_thread(request))
        return answered

    @property
    def grants(self) -> list[int]:
        """Cash of every grant, in order."""
        bundles = self.store.database.grants.values()
        return [msgspec.msgpack.decode(one, type=Bundle).cash for one in bundles]

    @property
    def refusals(self) -> list[dict[str, Any]]:
        """What was logged about the refused."""
        return [keys for _, event, keys in self.game.log.lines if event == "payment refused"]


@pytest.fixture
def door(tmp_path: Path, world: Callable[..., World]) -> Iterator[Door]:
    """One open door."""
    opened = Door(tmp_path, world)
    yield opened
    opened.close()


def test_a_signed_notice_becomes_a_grant_once_for_ever(door: Door) -> None:
    assert door.pays() == (200, {"order": "o-1", "status": "booked"})
    assert door.pays() == (200, {"order": "o-1", "status": "booked before"})
    assert door.pays(order="o-2", amount=7)[0] == 200
    assert door.grants == [500, 7]
    assert door.refusals == []
    counts = door.game.engine.metrics.report()
    assert (counts["payments_booked_total"], counts["payments_known_total"]) == (2, 1)


def test_an_order_with_other_content_is_no_repeat(door: Door) -> None:
    door.pays()
    assert door.pays(amount=501)[0] == 409
    assert door.grants == [500]


def test_a_refund_takes_back_what_its_charge_gave(door: Door) -> None:
    door.pays()
    refund: dict[str, Any] = {"kind": "refund", "refund_of": "o-1"}
    assert door.pays(order="r-1", amount=200, **refund)[0] == 200
    assert door.pays(order="r-1", amount=200, **refund)[1]["status"] == "booked before"
    assert door.pays(order="r-2", amount=301, **refund)[0] == 422
    assert door.pays(order="r-3", amount=1, kind="refund", refund_of="r-1")[0] == 422
    assert door.grants == [500, -200]


def test_a_refund_before_its_charge_is_to_be_sent_again(door: Door) -> None:
    refund: dict[str, Any] = {"order": "r-1", "kind": "refund", "refund_of": "o-1"}
    for _ in range(2):
        status, told = door.pays(amount=500, **refund)
        assert (status, told["error"]["cause"]) == (
            503,
            "the charge of this refund is not booked yet; send it again",
        )
    assert door.grants == []
    door.pays()
    assert door.pays(amount=501, **refund)[0] == 422
    assert door.pays(amount=500, **refund)[0] == 200
    assert door.grants == [500, -500]
    refund["refund_of"] = "o-9"
    assert door.pays(amount=500, **refund)[0] == 409


def test_who_does_not_sign_is_refused_and_logged(door: Door) -> None:
    assert door.pays(secret=b"another secret of thirty-two byte")[0] == 401
    body = json.dumps({"order": "o-1", "account": "Ann", "amount": 5}).encode()
    other = sign(door.secret, door.now_s(), body + b" ")
    for headers in ({}, {SIGNATURE_HEADER: "v1=00"}, {SIGNATURE_HEADER: other}):
        assert door.sends(body, headers)[0] == 401
    assert door.grants == []
    assert [(one["account"], one["address"], one["status"]) for one in door.refusals] == [
        ("Ann", "127.0.0.1", 401)
    ] * 4


@pytest.mark.parametrize("off_s", [-301, 301])
def test_a_signature_outside_its_window_is_refused(door: Door, off_s: int) -> None:
    assert door.pays(at_s=door.now_s() + off_s)[0] == 401
    assert door.pays(at_s=door.now_s() + off_s // 2)[0] == 200


WRONG: dict[str, tuple[int, dict[str, Any]]] = {
    "an unknown account": (404, {"account": "Bob"}),
    "nothing": (400, {"amount": 0}),
    "less than nothing": (400, {"amount": -5}),
    "half a coin": (400, {"amount": 0.5}),
    "too much": (422, {"amount": 1001}),
    "an order of spaces": (400, {"order": " "}),
    "an order too long": (400, {"order": "x" * 65}),
    "another kind": (400, {"kind": "gift"}),
    "a refund of nothing": (400, {"kind": "refund"}),
    "a charge that refunds": (400, {"refund_of": "o-0"}),
    "more than was asked for": (400, {"gold": 5}),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_signed_notice_that_says_nonsense_is_refused(door: Door, case: str) -> None:
    status, changed = WRONG[case]
    assert door.pays(**changed)[0] == status
    assert door.grants == [] and len(door.refusals) == 1


def test_a_long_body_another_path_and_plain_words_end_in_nothing(door: Door) -> None:
    body = b" " * (CONFIG.cash.body_bytes_max + 1)
    signed = {SIGNATURE_HEADER: sign(door.secret, door.now_s(), body)}
    assert door.sends(body, signed)[0] == 413
    assert door.sends(b"", {}, "GET", "/")[0] == 404
    assert door.sends(b"", {}, "GET")[0] == 405
    text = b"not JSON"
    assert door.sends(text, {SIGNATURE_HEADER: sign(door.secret, door.now_s(), text)})[0] == 400
    assert door.pays()[0] == 200


def test_a_store_that_is_away_is_told_and_a_repeat_books_once(door: Door) -> None:
    door.store.faults.next_after = 1
    assert door.pays()[0] == 503
    door.store.database.is_down = True
    assert door.pays()[0] == 503
    door.store.database.is_down = False
    assert door.pays()[1]["status"] == "booked before"
    assert door.grants == [500]


def test_a_flood_is_held_off(door: Door) -> None:
    statuses = [door.pays(order=f"o-{number}", amount=1)[0] for number in range(45)]
    assert statuses == [200] * 40 + [503] * 5
    door.game.clock.move(1_000)
    assert door.pays(order="o-44", amount=1)[0] == 200


def test_a_flood_of_strangers_costs_the_payment_service_nothing(door: Door) -> None:
    for _ in range(45):
        assert door.pays(secret=b"another secret of thirty-two byte")[0] == 401
    assert door.pays()[0] == 200


def test_a_flood_of_strangers_is_counted_and_does_not_turn_the_log_over(door: Door) -> None:
    text = b'{"account": "Ann"}'
    for _ in range(23):
        assert door.sends(text, {})[0] == 401
    assert len(door.refusals) == 20
    door.game.clock.move(2_000)
    for _ in range(3):
        door.sends(text, {})
    assert [one.get("untold", 0) for one in door.refusals[20:]] == [3, 0]
    assert door.game.engine.metrics.report()["payments_unsigned_total"] == 26
    assert door.pays(amount=0)[0] == 400
    assert door.refusals[-1]["status"] == 400, "who signs has a line of his own"


def test_nonsense_after_the_handshake_writes_no_line_of_the_server(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody turns over the file where such a line would go."""

    async def speaks() -> bytes:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", door.server.port, ssl=door.context
        )
        writer.write(b"nonsense\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer

    assert door.game.run(asyncio.wait_for(speaks(), 5)).startswith(b"HTTP/1.1 400")
    assert caplog.records == []


def test_the_door_speaks_only_tls_that_its_home_can_check(door: Door) -> None:
    door.context = ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError):
        door.pays()


def test_a_certificate_that_cannot_be_served_stops_the_node_before_it_serves(
    tmp_path: Path, world: Callable[..., World]
) -> None:
    given = {"MMO__CASH__TLS_CERTIFICATE_FILE": str(tmp_path / "door.pem")}
    given["MMO__CASH__TLS_KEY_FILE"] = str(tmp_path / "door.key")
    config = load_config(environment=given).config
    (tmp_path / "door.pem").write_text("no certificate")
    (tmp_path / "door.key").write_text("no key")
    home = Home(tmp_path / "home")
    ensure_secrets(home, config)
    secrets = read_secrets(home, config)
    ports = NodePorts("cash-1", "cash", 41, 0, 0, 0)
    with pytest.raises(ConfigError, match=r"door\.pem with .*door\.key") as caught:
        PaymentServer(home, config, ports, secrets, world(ROLE).engine)
    assert caught.value.code == "E0109"


def test_a_door_that_fails_ends_the_node(door: Door) -> None:
    crashes: list[BaseException] = []
    door.game.engine.on_crash = crashes.append

    async def fails() -> None:
        raise OSError(24, "Too many open files")

    async def over() -> None:
        serving = asyncio.get_running_loop().create_task(fails())
        serving.add_done_callback(door.server._ended)
        await asyncio.wait({serving})
        await asyncio.sleep(0)

    door.game.run(over())
    assert [str(one) for one in crashes] == ["[Errno 24] Too many open files"]


def test_the_certificate_of_a_server_follows_its_host_and_is_no_other_servers(
    tmp_path: Path,
) -> None:
    first = ensure_certificate(tmp_path, 41, "127.0.0.1")[0].read_bytes()
    assert ensure_certificate(tmp_path, 41, "127.0.0.1")[0].read_bytes() == first
    other = ensure_certificate(tmp_path, 42, "pay.example.net")[0].read_bytes()
    assert other != first
    assert ensure_certificate(tmp_path, 41, "127.0.0.1")[0].read_bytes() == first
    assert ensure_certificate(tmp_path, 41, "pay.example.net")[0].read_bytes() not in (first, other)
