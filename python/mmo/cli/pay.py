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
    from mmo.config import Config

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
    status, answer = send(home, load(config, home).config, notice)
    if json:
        terminal.print_json({"http": status, "order": order, **answer})
    elif status == BOOKED:
        print(f"{answer['status']}: {order}, {amount} cash for {user}")
    else:
        print(f"refused ({status}): {answer['error']['cause']}")
    return OK if status == BOOKED else FAILED


def send(home: Path, config: "Config", notice: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """HTTP status and decoded answer of a notice signed now. Raises `OperatorError` E0719 when no
    cash server answers."""
    import http.client

    from mmo.cli.payment_server import certificate_files, trusting
    from mmo.cluster.secret_files import read_secrets
    from mmo.edges.payment import PATH, SIGNATURE_HEADER, sign

    place, file = open_home(home)
    ports = [node.client_port for node in file.nodes if node.role == "cash"]
    if not ports:
        raise OperatorError("E0719", "this cluster has no cash server", "add one to [[nodes]]")
    body = json_text.dumps(notice).encode()
    secret = read_secrets(place, config).payment
    context = trusting(certificate_files(place, config)[0])
    connection = http.client.HTTPSConnection(
        config.cash.host, ports[0], timeout=ANSWER_S_MAX, context=context
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
