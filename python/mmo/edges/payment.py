"""Payment notices over HTTPS: signed by the payment service, in time, of a known account.

Owns the form of a notice and of its signature, and what is answered; books nothing and creates no
money: a notice that holds becomes a `PaymentNotice`, which a rule and the store decide. Served by
the cash role; the simulator of `mmo-cluster pay` signs with the same function.

The signature is that of other payment services: header `mmo-signature: t=SECONDS,v1=HEX`, where
HEX = HMAC-SHA-256(secret, "SECONDS." ‖ body). A repeat within the window is harmless, because an
order is booked once for ever.
"""

import asyncio
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mmo.wire.messages.cash import PaymentNotice

PATH = "/v1/notices"
SIGNATURE_HEADER = "mmo-signature"
BODY_S_MAX = 5.0
STRANGER_LINES_PER_S = 1.0
STRANGER_LINES_BURST = 20

_SIGNATURE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")
_OrderNumber = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
_OrderOrNone = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{0,64}$")]


class Notice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a notice as JSON. `amount` in cash; a refund names its charge."""

    order: _OrderNumber
    account: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    amount: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    kind: Literal["charge", "refund"] = "charge"
    refund_of: _OrderOrNone = ""


class Limits(msgspec.Struct, frozen=True):
    """What one cash server takes."""

    window_ms: int
    body_bytes_max: int
    amount_max: int
    per_s: float
    burst: int


ANSWERS = {
    "booked": (200, "booked"),
    "known": (200, "booked before"),
    "conflict": (409, "this order number was booked with other content"),
    "refused": (422, "no such charge of this account, or more than is left of it"),
    "early": (503, "the charge of this refund is not booked yet; send it again"),
    "away": (503, "the books are away; send it again"),
}
"""HTTP status and words for each fate of a notice."""

_decode = msgspec.json.Decoder(Notice).decode


def sign(secret: bytes, at_s: int, body: bytes) -> str:
    """The signature header of `body` at a unix time in seconds."""
    digest = hmac.digest(secret, b"%d." % at_s + body, hashlib.sha256)
    return f"t={at_s},v1={digest.hex()}"


def is_signed(secret: bytes, header: str, body: bytes, now_ms: int, window_ms: int) -> bool:
    """Whether `header` signs `body` within the window around `now_ms`."""
    match = _SIGNATURE.fullmatch(header)
    if match is None:
        return False
    at_s = int(match[1])
    in_time = abs(now_ms - at_s * 1_000) <= window_ms
    return hmac.compare_digest(sign(secret, at_s, body), header) and in_time


class Bucket:
    """So many at once, and as many a second as come back."""

    def __init__(self, per_s: float, burst: int, clock_ms: Callable[[], int]) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock_ms = clock_ms
        self._left = float(burst)
        self._filled_ms = clock_ms()

    def take(self) -> bool:
        """Whether there is one more."""
        now_ms = self._clock_ms()
        passed_s = max(0, now_ms - self._filled_ms) / 1_000
        self._left = min(self._burst, self._left + passed_s * self._per_s)
        self._filled_ms = now_ms
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Strangers:
    """What is done by those who did not sign: all of it is counted, and little of it logged, or
    they would turn the log over until nothing is left in it of those who did."""

    def __init__(self, clock_ms: Callable[[], int], log: Any, count: Callable[[str], None]) -> None:
        self._lines = Bucket(STRANGER_LINES_PER_S, STRANGER_LINES_BURST, clock_ms)
        self.count = count
        self._log = log
        self._untold = 0

    def seen(self, figure: str, event: str, **keys: Any) -> None:
        """One more for `figure`; a line for it unless there were many. A line after such has the
        number of those `untold`."""
        self.count(figure)
        if not self._lines.take():
            self._untold += 1
            return
        if self._untold:
            keys["untold"] = self._untold
        self._untold = 0
        self._log.warning(event, **keys)


class PaymentDoor:
    """The HTTPS application. `book` decides and writes a notice and says what became of it (a key
    of `ANSWERS`); `user_of` finds an account by its NFC name, 0: none. The server gives each
    connection a state `proved`, which is called once a signed notice came over it."""

    def __init__(
        self,
        secret: bytes,
        limits: Limits,
        book: Callable[[PaymentNotice], Awaitable[str]],
        user_of: Callable[[str], Awaitable[int | None]],
        clock_ms: Callable[[], int],
        log: Any,
        count: Callable[[str], None],
    ) -> None:
        self._secret = secret
        self._limits = limits
        self._book = book
        self._user_of = user_of
        self._clock_ms = clock_ms
        self._log = log
        # Only who signs may draw from it, or strangers would shut the door for those who do.
        self._notices = Bucket(limits.per_s, limits.burst, clock_ms)
        self._count = count
        self.strangers = Strangers(clock_ms, log, count)
        self.application = Starlette(routes=[Route(PATH, self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        body = await self._body(request)
        if body is None:
            return self._unsigned(request, 413, "the notice is too long or too slow", "")
        now_ms, header = self._clock_ms(), request.headers.get(SIGNATURE_HEADER, "")
        if not is_signed(self._secret, header, body, now_ms, self._limits.window_ms):
            return self._unsigned(request, 401, "not signed, or not now", _account_in(body))
        request.state.proved()
        if not self._notices.take():
            return self._no(request, 503, "too many notices; send it again", _account_in(body))
        try:
            notice = _decode(body)
        except msgspec.MsgspecError as error:
            return self._no(request, 400, str(error), _account_in(body))
        if (notice.kind == "refund") != bool(notice.refund_of):
            return self._no(request, 400, "a refund names its charge", notice.account)
        if notice.amount > self._limits.amount_max:
            return self._no(request, 422, "the amount is above the limit", notice.account)
        return await self._decided(request, notice)

    async def _decided(self, request: Request, notice: Notice) -> Response:
        user = await self._user_of(unicodedata.normalize("NFC", notice.account))
        if user is None:
            return self._no(request, *ANSWERS["away"], notice.account)
        if not user:
            return self._no(request, 404, "no such account", notice.account)
        told = PaymentNotice(notice.order, user, notice.amount, notice.refund_of)
        fate = await self._book(told)
        status, words = ANSWERS[fate]
        if status != 200:
            return self._no(request, status, words, notice.account)
        self._count(f"payments_{fate}_total")
        self._log.info("payment", order=notice.order, user=user, amount=notice.amount, fate=fate)
        return JSONResponse({"order": notice.order, "status": words})

    def _no(self, request: Request, status: int, cause: str, account: str) -> Response:
        self._count("payments_away_total" if status == 503 else "payments_refused_total")
        self._log.warning("payment refused", **_refusal(request, status, cause, account))
        return _refused(status, cause)

    def _unsigned(self, request: Request, status: int, cause: str, account: str) -> Response:
        refusal = _refusal(request, status, cause, account)
        self.strangers.seen("payments_unsigned_total", "payment refused", **refusal)
        return _refused(status, cause)

    async def _body(self, request: Request) -> bytes | None:
        parts: list[bytes] = []
        length = 0
        try:
            async with asyncio.timeout(BODY_S_MAX):
                async for part in request.stream():
                    length += len(part)
                    if length > self._limits.body_bytes_max:
                        return None
                    parts.append(part)
        except (TimeoutError, ClientDisconnect):
            return None
        return b"".join(parts)


def _refusal(request: Request, status: int, cause: str, account: str) -> dict[str, Any]:
    """What the log keeps of a refused notice."""
    address = request.client.host if request.client else ""
    return {"status": status, "cause": cause, "account": account, "address": address}


def _refused(status: int, cause: str) -> Response:
    headers = {"retry-after": "1"} if status == 503 else {}
    return JSONResponse({"error": {"status": status, "cause": cause}}, status, headers)


def _account_in(body: bytes) -> str:
    """The account that a body names, whoever wrote it; for the log alone."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return ""
    named = found.get("account", "") if isinstance(found, dict) else ""
    return named[:64] if isinstance(named, str) else ""
