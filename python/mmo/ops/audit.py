"""`audit`: proves on a live cluster that nothing a player owns was lost, doubled or invented.

Owns the report and the one read-only snapshot in which all rules are asked, so players go on
while it runs. Changes nothing, ever. Called by `mmo-cluster audit`, and through it by the proofs.
"""

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from mmo.content import Content
from mmo.ops import audit_economy as economy
from mmo.ops import audit_raids, audit_ranking
from mmo.ops.audit_checks import CHECKS, ROWS_MAX, Check, Known
from mmo.state.grant import Bundle
from mmo.state.wallet import Account, Currency
from mmo.store.connection import Connection, Statement
from mmo.store.mysql_pool import MysqlPool

_ISOLATION = Statement("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
_SNAPSHOT = Statement("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
_END = Statement("COMMIT")
_TOTALS = Statement("""
    SELECT (SELECT COUNT(*) FROM player_head), (SELECT COUNT(*) FROM ledger),
           (SELECT COUNT(*) FROM item), (SELECT COUNT(*) FROM event_log),
           (SELECT COUNT(*) FROM reward_grant)
""")
_HELD = Statement("SELECT SUM(gold), SUM(cash), SUM(mileage) FROM player_head")
_FLOWS = Statement("""
    SELECT currency, SUM(CASE WHEN account < 100 THEN amount ELSE 0 END),
           -SUM(CASE WHEN account >= 100 THEN amount ELSE 0 END)
    FROM ledger GROUP BY currency
""")
_ITEM_FLOWS = Statement("""
    SELECT g.kind, g.code, SUM(CASE WHEN g.delta > 0 THEN g.delta ELSE 0 END),
           -SUM(CASE WHEN g.delta < 0 THEN g.delta ELSE 0 END)
    FROM item_ledger g GROUP BY g.kind, g.code
""")
_ITEMS_HELD = Statement("SELECT kind, code, SUM(count) FROM item GROUP BY kind, code")
_GRANTS_CLAIMED = Statement("""
    SELECT user_id, claimed_version, bundle FROM reward_grant WHERE claimed_version IS NOT NULL
""")
_GRANTS_PAID = Statement(f"""
    SELECT user_id, version, currency, SUM(amount) FROM ledger
    WHERE account IN ({", ".join(str(int(account)) for account in economy.GRANT_ACCOUNTS)})
    GROUP BY user_id, version, currency
""")
_GRANTS_GIVEN = Statement(f"""
    SELECT user_id, version, kind, code, SUM(delta) FROM item_ledger
    WHERE source IN ({", ".join(str(int(account)) for account in economy.GRANT_ACCOUNTS)})
    GROUP BY user_id, version, kind, code
""")

_CURRENCIES = tuple(currency.name.lower() for currency in Currency)
_decode_bundle = msgspec.msgpack.Decoder(Bundle).decode


class Flow(msgspec.Struct, frozen=True):
    """What came into being, what went out of it, what is held: a currency or an item code."""

    minted: int
    burned: int
    held: int

    @property
    def balanced(self) -> bool:
        """Whether the difference is what is held."""
        return self.minted - self.burned == self.held


class Finding(msgspec.Struct, frozen=True):
    """One place where a rule does not hold. `user` 0: of no single player."""

    check: str
    user: int
    text: str


class Report(msgspec.Struct, frozen=True):
    """The answer, in the form of `audit --json`."""

    balanced: bool
    players: int
    ledger_lines: int
    currencies: dict[str, Flow]
    items: dict[str, int]  # live, codes, log lines, grants, rolls recomputed, results of raids
    findings: list[Finding]

    @property
    def empty(self) -> bool:
        """Whether there was nothing to check."""
        return self.players == 0


def known_of(content: Content, node_numbers: Iterable[int]) -> Known:
    """The tables of `content` and the servers of the configuration in the form of the rules."""
    return Known(
        levels=json.dumps(list(content.levels.exp_need)),
        items=json.dumps([[row.kind, row.code, row.stack_max] for row in content.items.values()]),
        slots=json.dumps(list(content.slots)),
        accounts=json.dumps([int(account) for account in Account]),
        nodes=json.dumps(sorted(node_numbers)),
        odds=json.dumps(
            [
                [content.enhance.table, level, step.chance_ppm]
                for level, step in enumerate(content.enhance.step)
            ]
        ),
        seasons=json.dumps(
            [
                [season.number, season.starts_ms, season.ends_ms]
                for season in content.passes.seasons.values()
            ]
        ),
    )


async def audit(pool: MysqlPool, known: Known, roll_secret: bytes = b"") -> Report:
    """Ask every rule in one consistent snapshot. With the cluster's roll secret every roll is
    recomputed, without it those of revealed days. Raises `StoreUnavailable` when MySQL is away."""
    async with pool.take() as connection:
        await connection.execute(_ISOLATION)
        await connection.execute(_SNAPSHOT)
        findings: list[Finding] = []
        for check in (*CHECKS, *economy.CHECKS, *audit_raids.CHECKS, *audit_ranking.CHECKS):
            findings += await _asked(connection, check, known)
        findings += await _grants(connection)
        keys, wrong_keys = await economy.keys_of(connection, roll_secret)
        rolls, wrong_rolls = await economy.rolls(connection, keys)
        wrong_orders = await economy.orders(connection)
        results, wrong_results = await audit_raids.results(connection)
        wrong = (*wrong_keys, *wrong_rolls, *wrong_orders, *wrong_results)
        findings += [Finding(*one) for one in wrong]
        currencies = await _currencies(connection, findings)
        codes = await _item_codes(connection, findings)
        totals = await connection.row(_TOTALS)
        await connection.execute(_END)
    assert totals is not None
    players, ledger_lines, items, log_lines, grants = (int(count) for count in totals)
    return Report(
        balanced=not findings,
        players=players,
        ledger_lines=ledger_lines,
        currencies=currencies,
        items={"live": items, "codes": codes, "log_lines": log_lines, "grants": grants}
        | {"rolls": rolls, "raid_results": results},
        findings=findings,
    )


async def _asked(connection: Connection, check: Check, known: Known) -> list[Finding]:
    values = [getattr(known, name) for name in check.values]
    rows = await connection.rows(check.statement, *values)
    findings = [
        Finding(check.name, int(row[0]), check.words.format(*(_plain(value) for value in row)))
        for row in rows[:ROWS_MAX]
    ]
    if len(rows) > ROWS_MAX:
        findings.append(Finding(check.name, 0, f"more than {ROWS_MAX} places; the first are told"))
    return findings


def _plain(value: Any) -> str:
    return value.decode() if isinstance(value, bytes | bytearray) else str(value)


async def _currencies(connection: Connection, findings: list[Finding]) -> dict[str, Flow]:
    held = await connection.row(_HELD) or (0, 0, 0)
    flows = {int(row[0]): row[1:] for row in await connection.rows(_FLOWS)}
    found = {}
    for currency in Currency:
        minted, burned = flows.get(currency, (0, 0))
        flow = Flow(int(minted), int(burned), int(held[currency] or 0))
        found[currency.name.lower()] = flow
        if not flow.balanced:
            text = f"{flow.minted} minted less {flow.burned} burned are not {flow.held} held"
            findings.append(Finding("currency", 0, f"{currency.name.lower()}: {text}"))
    return found


async def _item_codes(connection: Connection, findings: list[Finding]) -> int:
    held = {tuple(map(int, r[:2])): int(r[2]) for r in await connection.rows(_ITEMS_HELD)}
    flows = {tuple(map(int, r[:2])): r[2:] for r in await connection.rows(_ITEM_FLOWS)}
    for kind, code in sorted(set(held) | set(flows)):
        born, died = flows.get((kind, code), (0, 0))
        flow = Flow(int(born), int(died), held.get((kind, code), 0))
        if not flow.balanced:
            text = f"{flow.minted} born less {flow.burned} gone are not {flow.held} held"
            findings.append(Finding("item-code", 0, f"kind {kind} code {code}: {text}"))
    return len(set(held) | set(flows))


async def _grants(connection: Connection) -> list[Finding]:
    """What grants gave: per commit exactly the money and items of the grants claimed by it."""
    owed: dict[tuple[int, int], dict[str, int]] = {}
    for user, version, bundle in await connection.rows(_GRANTS_CLAIMED):
        held = _decode_bundle(bytes(bundle))
        due = owed.setdefault((int(user), int(version)), {})
        for name in _CURRENCIES:
            _add(due, name, getattr(held, name))
        for item in held.items:
            _add(due, f"item {item.kind}/{item.code}", item.count)
    paid: dict[tuple[int, int], dict[str, int]] = {}
    for row in await connection.rows(_GRANTS_PAID):
        user, version, currency, amount = (int(value) for value in row)
        if currency in tuple(Currency):
            _add(paid.setdefault((user, version), {}), _CURRENCIES[currency], amount)
    for row in await connection.rows(_GRANTS_GIVEN):
        user, version, kind, code, count = (int(value) for value in row)
        _add(paid.setdefault((user, version), {}), f"item {kind}/{code}", count)
    return list(_unequal(owed, paid))


def _add(sums: dict[str, int], name: str, amount: int) -> None:
    if amount:
        sums[name] = sums.get(name, 0) + amount


def _unequal(
    owed: dict[tuple[int, int], dict[str, int]], paid: dict[tuple[int, int], dict[str, int]]
) -> Iterable[Finding]:
    for user, version in sorted(set(owed) | set(paid)):
        due, given = owed.get((user, version), {}), paid.get((user, version), {})
        if due != given:
            text = f"version {version}: grants claimed hold {due}, the books were given {given}"
            yield Finding("grant-paid", user, text)
