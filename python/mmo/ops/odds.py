"""`odds`: any roll computed again, and what was published against what was observed.

Owns the verdict over one receipt and the law by which drift is an alarm; reads the books and the
published keys, changes nothing. Called by `mmo-cluster odds`.

Source of the band: Hoeffding, "Probability inequalities for sums of bounded random variables"
(1963), theorem 1: P(mean of n >= q) <= exp(-n·D(q‖p)) with the relative entropy D. It holds for
every n and p, so rare events and short series raise no false alarm.
"""

import math
from collections.abc import Sequence

import msgspec

from mmo.state.roll import PARTS, commitment, day_key, roll
from mmo.store.connection import Connection, Statement

CHANCE_OF_FALSE_ALARM = 1e-6
"""Of one row of the report, on each side."""
BISECTIONS = 60

_KEY = Statement("SELECT commitment, COALESCE(roll_key, '') FROM roll_key WHERE day = %s")
_ATTEMPT = Statement("""
    SELECT day, odds_table, chance_ppm, roll_ppm, enhance_after > enhance_before, enhance_before
    FROM enhance_log WHERE uid = %s AND attempt = %s
""")
_TALLY = Statement("""
    SELECT odds_table, enhance_before, chance_ppm, COUNT(*),
           CAST(SUM(enhance_after > enhance_before) AS SIGNED)
    FROM enhance_log GROUP BY odds_table, enhance_before, chance_ppm
    ORDER BY odds_table, enhance_before, chance_ppm
""")


class Receipt(msgspec.Struct, frozen=True):
    """What a player was told of one attempt; other fields of his message are not needed."""

    uid: int
    attempt: int
    day: int
    table: int
    chance_ppm: int
    roll_ppm: int
    success: bool


class Judgement(msgspec.Struct, frozen=True):
    """What became of a receipt. `recomputed_ppm` is -1 while the key is not known here."""

    holds: bool
    recomputed_ppm: int
    commitment: str
    revealed: bool
    findings: list[str]


class Row(msgspec.Struct, frozen=True):
    """One step of one odds table: published chance, observed share, and the band around the
    published one that chance alone does not leave."""

    table: int
    level: int
    published_ppm: int
    attempts: int
    successes: int
    observed_ppm: int
    low_ppm: int
    high_ppm: int
    alarm: bool


def receipt_of(text: str) -> Receipt:
    """A receipt from JSON, such as `call ENHANCE ... --json` prints. Raises
    `msgspec.MsgspecError`."""
    return msgspec.json.decode(text, type=Receipt)


async def verify(connection: Connection, receipt: Receipt, master: bytes) -> Judgement:
    """Compute the roll of a receipt again and compare it with the promise and the books. With the
    cluster's secret (`master`) also before the key is revealed."""
    found: list[str] = []
    promised = await connection.row(_KEY, receipt.day)
    if promised is None:
        return Judgement(False, -1, "", False, [f"no key was ever promised for {receipt.day}"])
    published, revealed = bytes(promised[0]), bytes(promised[1])
    key = revealed or (day_key(master, receipt.day) if master else b"")
    due = roll(key, receipt.uid, receipt.attempt, receipt.table) if key else -1
    if key and commitment(key) != published:
        found.append("the key is not the one whose hash was published")
    if key and due != receipt.roll_ppm:
        found.append(f"the key gives roll {due}, the receipt says {receipt.roll_ppm}")
    if receipt.success != (receipt.roll_ppm < receipt.chance_ppm):
        found.append("success does not follow from roll and chance")
    if not key:
        found.append("the key is not public yet and no secret was given")
    found += await _booked(connection, receipt)
    return Judgement(not found, due, published.hex(), bool(revealed), found)


async def _booked(connection: Connection, receipt: Receipt) -> list[str]:
    row = await connection.row(_ATTEMPT, receipt.uid, receipt.attempt)
    if row is None:
        return ["the books hold no such attempt"]
    told = (receipt.day, receipt.table, receipt.chance_ppm, receipt.roll_ppm, receipt.success)
    booked = (*(int(value) for value in row[:4]), bool(row[4]))
    return [] if told == booked else [f"the books say {booked}, the receipt {told}"]


async def report(connection: Connection) -> list[Row]:
    """Every step of every odds table that was ever used."""
    return tally([tuple(map(int, row)) for row in await connection.rows(_TALLY)])


def tally(counted: Sequence[tuple[int, ...]]) -> list[Row]:
    """Rows from (table, level, published chance in ppm, attempts, successes)."""
    return [_row(*one) for one in counted]


def _row(table: int, level: int, published: int, attempts: int, successes: int) -> Row:
    low, high = band(published / PARTS, attempts)
    observed = successes / attempts
    return Row(
        *(table, level, published, attempts, successes, round(observed * PARTS)),
        *(math.floor(low * PARTS), math.ceil(high * PARTS)),
        alarm=not low <= observed <= high,
    )


def band(chance: float, attempts: int) -> tuple[float, float]:
    """The shares that `attempts` (1 or more) tries at `chance` (0..1) leave with a probability of
    at most `CHANCE_OF_FALSE_ALARM` on each side."""
    if chance <= 0.0 or chance >= 1.0:
        return chance, chance
    reach = math.log(1 / CHANCE_OF_FALSE_ALARM) / attempts
    return _edge(chance, 0.0, reach), _edge(chance, 1.0, reach)


def _edge(chance: float, end: float, reach: float) -> float:
    """Where the relative entropy from `chance` towards `end` reaches `reach`."""
    if _entropy(end, chance) <= reach:
        return end
    inside, outside = chance, end
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        if _entropy(middle, chance) <= reach:
            inside = middle
        else:
            outside = middle
    return outside


def _entropy(share: float, chance: float) -> float:
    total = 0.0
    if share > 0:
        total += share * math.log(share / chance)
    if share < 1:
        total += (1 - share) * math.log((1 - share) / (1 - chance))
    return total
