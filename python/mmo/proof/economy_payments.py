"""A payment service of a proof's own: signs notices, repeats them until they are booked, refunds.

Owns its orders and what the cash server acknowledged of them. Signature and body are written out
here from the documented form, as another company would. Called by `economy`.
"""

import asyncio
import hashlib
import hmac
import http.client
import json
import random
import ssl
import time
from typing import Any

from mmo.proof.arena import Arena

PATH = "/v1/notices"
ANSWER_S = 3.0
AGAIN_S = 0.2
PATIENCE_S = 45.0
REPEAT_SHARE = 0.25
REFUND_SHARE = 0.2


class PaymentService:
    """Pays for accounts, one notice after the other. `acknowledged`: cash by account; each notice
    is sent again, with the same order number, until it is booked."""

    def __init__(self, arena: Arena, accounts: list[str], seed: int) -> None:
        self._arena = arena
        self._accounts = accounts
        self._rng = random.Random(seed)
        self._key = (arena.home.secrets / "payment").read_bytes().strip()
        self._trust: Any = ssl.create_default_context(cafile=str(self._certificate()))
        self._charges: list[tuple[str, str, int]] = []
        self.acknowledged = dict.fromkeys(accounts, 0)
        self.booked = 0
        self.repeats = 0
        self.refunds = 0
        self.tries = 0
        self.faults: list[str] = []
        self.goes_on = True

    def _certificate(self) -> Any:
        return next(
            path
            for path in sorted(self._arena.home.secrets.iterdir())
            if b"BEGIN CERTIFICATE" in path.read_bytes()
        )

    async def run(self, pause_s: float) -> None:
        """Pay while `goes_on`; a notice that was begun is brought to its end."""
        number = 0
        while self.goes_on:
            number += 1
            await asyncio.to_thread(self._one, f"{self._accounts[0]}/{number}")
            await asyncio.sleep(pause_s)

    def _one(self, name: str) -> None:
        order = hashlib.sha256(name.encode()).hexdigest()[:32]
        if self._charges and self._rng.random() < REFUND_SHARE:
            charge, account, amount = self._charges.pop()
            notice = {"order": order, "account": account, "amount": amount, "kind": "refund"}
            notice["refund_of"] = charge
            amount = -amount
            self.refunds += 1
        else:
            account, amount = self._rng.choice(self._accounts), self._rng.randrange(1, 500)
            notice = {"order": order, "account": account, "amount": amount, "kind": "charge"}
        if not self.until_booked(notice):
            return
        if amount > 0:
            self._charges.append((order, account, amount))
        self.booked += 1
        self.acknowledged[account] += amount
        if self._rng.random() < REPEAT_SHARE:
            self.repeats += 1
            self.until_booked(notice)

    def until_booked(self, notice: dict[str, Any]) -> bool:
        """Send a notice until it is booked; False, and a fault, when it is not."""
        until = time.monotonic() + PATIENCE_S
        last = "nothing"
        while time.monotonic() < until:
            self.tries += 1
            try:
                status, text = self._send(notice)
            except (OSError, http.client.HTTPException) as fault:
                status, text = 0, str(fault)
            if status == http.client.OK:
                return True
            last = f"{status} {text}"
            if status not in (0, http.client.SERVICE_UNAVAILABLE):
                break
            time.sleep(AGAIN_S)
        self.faults.append(f"notice {notice} was not booked: {last}")
        return False

    def _send(self, notice: dict[str, Any]) -> tuple[int, str]:
        body = json.dumps(notice).encode()
        at_s = int(time.time())
        digest = hmac.new(self._key, b"%d." % at_s + body, hashlib.sha256).hexdigest()
        host, port = self._arena.addresses("cash")[0]
        connection = http.client.HTTPSConnection(host, port, timeout=ANSWER_S, context=self._trust)
        try:
            connection.request("POST", PATH, body, {"mmo-signature": f"t={at_s},v1={digest}"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()
