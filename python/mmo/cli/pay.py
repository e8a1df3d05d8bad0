"""`pay`: a payment service in small: signs a real notice and sends it to the cash server.

Owns the order number, the signature and the HTTPS request; the cash server decides as for any
payment service. Called by the operator of a development cluster, by demos and by proofs.
"""

import json as json_text
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmo.cli import terminal
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, load, open_home
from mmo.cli.rim import FAILED, OK
from mmo.errors import OperatorError

if TYPE_CHECKING:
    from mmo.cluster.home import NodePorts
    from mmo.config import Config
    from mmo.config.load import Loaded

ANSWER_S_MAX = 10
BOOKED = 200


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command()(pay)


def pay(
    user: Annotated[str, typer.Option("--as", help="Account that is paid for.")],
    amount: Annotated[int, typer.Option("--amount", min=1, help="Cash.")],
    order: Annotated[str, typer.Option("--order", help="Order number; a new one if empty.")] = "",
    refund: Annotated[str, typer.Option("--refund", help="Order whose cash is given back.")] = "",
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Send one signed payment notice, as a payment service would."""
    import secrets as random_secrets

    order = order or f"pay-{random_secrets.token_hex(8)}"
    notice = {
        "order": order,
        "account": user,
        "amount": amount,
        "kind": "refund" if refund else "charge",
        "refund_of": refund,
    }
    status, answer = send(home, load(config, home), notice)
    if json:
        terminal.print_json({"http": status, "order": order, **answer})
    elif status == BOOKED:
        print(f"{answer['status']}: {order}, {amount} cash for {user}")
    else:
        print(f"refused ({status}): {answer['error']['cause']}")
    return OK if status == BOOKED else FAILED


def send(home: Path, loaded: "Loaded", notice: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """HTTP status and decoded answer of a notice signed now, from the first cash server of the
    home. Raises `OperatorError` E0719 when it does not answer."""
    import http.client

    from mmo.cli.payment_server import trusted_file, trusting
    from mmo.cluster.secret_files import read_secrets
    from mmo.edges.payment import PATH, SIGNATURE_HEADER, sign

    place, file = open_home(home)
    nodes = [node for node in file.nodes if node.role == "cash"]
    if not nodes:
        raise OperatorError("E0719", "this cluster has no cash server", "add one to [[nodes]]")
    config = _as_seen_by(nodes[0], loaded)
    body = json_text.dumps(notice).encode()
    secret = read_secrets(place, config).payment
    trusted = trusted_file(place, config, nodes[0].number)
    try:
        context = trusting(trusted)
    except OSError as error:
        raise OperatorError(
            "E0719",
            f"the certificate of the cash server, {trusted}, cannot be read: {error}",
            "mmo-cluster status: a cash server makes it as it starts, unless it is configured",
        ) from error
    connection = http.client.HTTPSConnection(
        config.cash.host, nodes[0].client_port, timeout=ANSWER_S_MAX, context=context
    )
    try:
        signature = sign(secret, int(time.time()), body)
        connection.request("POST", PATH, body, {SIGNATURE_HEADER: signature})
        answer = connection.getresponse()
        return answer.status, json_text.loads(answer.read())
    except OSError as error:
        raise OperatorError(
            "E0719", f"the cash server does not answer: {error}", "mmo-cluster status"
        ) from error
    finally:
        connection.close()


def _as_seen_by(node: "NodePorts", loaded: "Loaded") -> "Config":
    """The configuration with what the node's entry overrides: host, certificate and secret of its
    door may be its own. One that `scale` added has no entry."""
    entries = [entry for entry in loaded.config.nodes if entry.number == node.number]
    return loaded.for_node(entries[0]) if entries else loaded.config
