"""The proof that a repeat is no second time: each request leaves 1 to 20 times, everywhere.

Owns the storm: volleys of the same bytes, cut, moved between servers and crashed under. Whatever
answers must be the same bytes; after a purge the old numbers are refused and never executed.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

from mmo.client.coming_back import come_back
from mmo.client.fleet import muster, source_of
from mmo.client.hero import Hero
from mmo.client.hunting import hold_on
from mmo.client.journeys import Journey, walk_guarded
from mmo.client.meter import Meter
from mmo.client.protocol import Answer
from mmo.client.purchases import take_down
from mmo.client.session import (
    COME_AGAIN,
    arrive,
    ask,
    code_name,
    lobby,
    log_out,
    move,
    overhear,
    register,
    servers,
    silence,
)
from mmo.client.steps import CENTER, GAME, Drop, Lost, Pause, Receive, Send, Walk
from mmo.proof.arena import LOOK_EVERY_S, Arena
from mmo.proof.economy import kill_one, operation_faults
from mmo.proof.economy_books import Books
from mmo.proof.economy_witness import Witness, WitnessedShell
from mmo.proof.load import FAULT_POLICY, books_balance, nobody_is_left
from mmo.proof.odds_receipts import GOLD, cheapest, wait_for_gold
from mmo.proof.verdict import Trial
from mmo.wire.messages.enhance import Enhance
from mmo.wire.messages.inventory import ItemDrop, ItemEquip, ItemMove, ItemUnequip, ItemUse
from mmo.wire.messages.presence import ItemView
from mmo.wire.messages.session import Refused
from mmo.wire.messages.shop import Buy, ShopLineView
from mmo.wire.opcode import Code

COPIES_MAX = 20
VOLLEY_MAX = 5
COPY_EVERY_MS = 70.0
"""Below the rate that one connection is granted, so that a volley is never a flood."""

CUT_SHARE = 0.15
MOVE_SHARE = 0.35
LOBBY_SHARE = 0.55
KILL_EVERY_S = 4.0
VICTIMS = ("channel", "center", "mysql")
EQUIPMENT, CONSUMABLE = 0, 1
SLOTS = 10

OLD_S = 15.0
"""How far the clock of a server that decides may be ahead of the database's, at most."""


class Storm:
    """One player and the requests he made. `done`: each with its number, answered for good."""

    def __init__(self, me: Hero, requests: int) -> None:
        self.me = me
        self.requests = requests
        self.done: list[Any] = []
        self.catalogue = 0
        self.potion: ShopLineView | None = None
        self.sword: ShopLineView | None = None

    @property
    def lane(self) -> str:
        """The connection to the server that owns the player."""
        return CENTER if self.me.game is None else GAME

    def first_session(self) -> Walk[None]:
        """Make all requests, each in a storm of its own; then come again and compare."""
        me = self.me
        yield from arrive(me)
        if not (yield from wait_for_gold(me, GOLD)):
            return
        self.catalogue, self.potion = yield from cheapest(me, CENTER, CONSUMABLE)
        _, self.sword = yield from cheapest(me, CENTER, EQUIPMENT)
        while len(self.done) < self.requests:
            message = self._next()
            me.told_meanwhile = []
            answer = yield from self._many_times(message, me.rng.randint(1, COPIES_MAX))
            me.told_meanwhile = None
            if isinstance(answer, Refused):
                me.meter.error(f"{me.name}: {message} was refused: {code_name(answer.code)}")
                return
            take_down(me.record, answer)
            self.done.append(message)
        yield from hold_on(me, lambda: log_out(me))
        yield from arrive(me)
        for message in self.done:
            yield from self._once_more(message)
        yield from hold_on(me, lambda: log_out(me))

    def after_purge(self) -> Walk[None]:
        """Every number of the sessions before is refused now, and nothing of it is done."""
        me = self.me
        told = yield from arrive(me)
        before = (told.gold, told.equipment, told.consumables)
        for message in self.done:
            code = int(Code.OPERATION_EXPIRED)
            answer = yield from ask(me, CENTER, message, expects=(code,))
            if not isinstance(answer, Refused):
                me.meter.error(f"{me.name}: {message} was answered after the purge: {answer}")
            yield Pause(COPY_EVERY_MS)
        yield from log_out(me)
        told = yield from arrive(me)
        if (told.gold, told.equipment, told.consumables) != before:
            me.meter.error(f"{me.name}: something was done again after the purge")
        yield from log_out(me)

    def _next(self) -> Any:
        """The next request: something that can be done now, by turns."""
        me, potion, sword = self.me, self.potion, self.sword
        assert potion is not None and sword is not None
        worn = [item for item in _held(me, EQUIPMENT) if item.equipped]
        loose = [item for item in _held(me, EQUIPMENT) if not item.equipped]
        potions = _held(me, CONSUMABLE)
        turn = len(self.done) % 8
        operation = me.next_operation()
        if not loose or turn == 0:
            if len(loose) + len(worn) < SLOTS - 1:
                return Buy(operation, self.catalogue, sword.line, 1, sword.price)
            return ItemDrop(operation, loose[-1].uid, 1)
        if turn == 1 or not potions:
            return Buy(operation, self.catalogue, potion.line, 3, potion.price)
        if turn in (2, 5):
            return Enhance(operation, loose[0].uid)
        if turn == 3:
            free = set(range(SLOTS)) - {item.slot for item in _held(me, EQUIPMENT)}
            return ItemMove(operation, loose[0].uid, max(free))
        if turn == 4:
            form = ItemUnequip if worn else ItemEquip
            return form(operation, (worn or loose)[0].uid)
        if turn == 6:
            return ItemUse(operation, potions[0].uid, 1)
        return ItemDrop(operation, potions[0].uid, 1)

    def _many_times(self, message: Any, copies: int) -> Walk[Any]:
        """Send so many copies in volleys, from wherever the player is then; the final answer."""
        me, left = self.me, copies - 1
        while left > 0:
            volley = min(left, me.rng.randint(1, VOLLEY_MAX))
            left -= volley
            try:
                yield from self._volley(message, volley, me.rng.random() < CUT_SHARE)
                yield Pause(volley * COPY_EVERY_MS)
                yield from self._go_elsewhere()
            except Lost as lost:
                yield from come_back(me, lost, to_lobby=True)
        while True:
            try:
                return (yield from ask(me, self.lane, message))
            except Lost as lost:
                yield from come_back(me, lost, to_lobby=True)

    def _volley(self, message: Any, copies: int, cut: bool) -> Walk[None]:
        me, lane = self.me, self.lane
        open_ones = set()
        for _ in range(copies):
            open_ones.add((yield Send(lane, message)))
        if cut:
            yield Drop(lane)
            raise Lost(lane, 0, "cut on purpose")
        displaced = False
        while open_ones:
            event = yield Receive(lane, me.policy.answer_ms)
            if event is None:
                yield from silence(me, lane, f"{copies} copies of {type(message).__name__}")
            elif isinstance(event, Answer) and event.seq in open_ones:
                open_ones.discard(event.seq)
                code = event.message.code if isinstance(event.message, Refused) else 0
                displaced |= code == Code.WRONG_PLACE
                if code and code not in COME_AGAIN and code != Code.WRONG_PLACE:
                    me.meter.error(f"{me.name}: a copy of {message} was refused: {event.message}")
            else:
                overhear(me, event)
        if displaced:
            yield Drop(lane)
            raise Lost(lane, 0, "another server owns the player")

    def _go_elsewhere(self) -> Walk[None]:
        """Sometimes to another channel server, sometimes back to the lobby."""
        me, turn = self.me, self.me.rng.random()
        if turn < MOVE_SHARE:
            rows = yield from servers(me)
            others = [row.number for row in rows if row.open and row.number != me.game_number]
            if others:
                yield from move(me, me.rng.choice(others))
        elif turn < LOBBY_SHARE and me.game is not None:
            yield from lobby(me)

    def _once_more(self, message: Any) -> Walk[None]:
        """A request of an earlier session, again: the witness compares the answer."""
        answer = None
        while answer is None:
            try:
                answer = yield from ask(self.me, self.lane, message)
            except Lost as lost:
                yield from come_back(self.me, lost, to_lobby=True)
        yield Pause(COPY_EVERY_MS)


def _held(me: Hero, kind: int) -> list[ItemView]:
    return [item for _, item in sorted(me.record.items.items()) if item.kind == kind]


async def duplicate_storm(arena: Arena, trial: Trial, short: bool) -> None:
    """Storms of duplicates under kills; then the same numbers from a later session; then a
    purge."""
    count, requests = (6, 8) if short else (30, 48)
    meter, witness, books = Meter(), Witness(), Books(arena)
    heroes = muster(arena.addresses("login"), count, 71, meter, FAULT_POLICY)
    storms = [Storm(me, requests) for me in heroes]
    for index, me in enumerate(heroes):
        await WitnessedShell(source_of(50_000 + index), witness, me.name).walk(register(me))
        await asyncio.to_thread(books.give, await asyncio.to_thread(books.user_of, me.name), GOLD)
    walking = asyncio.gather(
        *(_walk(index, one.me, witness, one.first_session) for index, one in enumerate(storms))
    )
    kills = await _kill_while(arena, walking, storms)
    await walking
    trial.expect(await arena.ready_s() is not None, "the cluster was not repaired")
    trial.tried(f"kill -9 during the storm: {', '.join(kills) or 'nobody'}")
    trial.expect(bool(kills), "nobody was killed during the storm")
    await _judge(trial, books, storms, witness)
    users = [one.me.user for one in storms]
    trial.expect(await _is_old(books, users), f"the log is younger than now for {OLD_S:.0f} s")
    purged = await arena.command("purge", "--older-than", "0s", "--yes", deadline_s=120)
    for one in storms:
        await asyncio.to_thread(_expect_purged, trial, books, one.me.user, purged["before_ms"])
    told = dict(witness.answers)
    await asyncio.gather(
        *(_walk(index, one.me, witness, one.after_purge) for index, one in enumerate(storms))
    )
    trial.expect(told == witness.answers, "an operation was answered after it was purged")
    judge_refusals(trial, witness)
    trial.tried(f"{purged['lines']} lines of the log purged, every number of theirs sent again")
    trial.expect(purged["purged"] >= count, f"only {purged['purged']} players had lines to purge")
    for text in meter.findings:
        trial.found(f"player {text}")
    trial.expect(not meter.errors, f"{meter.errors} errors of players")
    await books_balance(arena, trial, count)
    await nobody_is_left(arena, trial)


async def _walk(index: int, me: Hero, witness: Witness, walk: Callable[[], Walk[None]]) -> None:
    shell = WitnessedShell(source_of(50_000 + index), witness, me.name)
    journey = Journey("storm", "one request, many times", lambda _, __: walk(), lambda _: 0)
    try:
        await shell.walk(walk_guarded(me, journey, 0))
    finally:
        shell.cut_all()


async def _kill_while(
    arena: Arena, walking: "asyncio.Future[Any]", storms: list[Storm]
) -> list[str]:
    """Kill one server after the other while the storm lasts, from when all have read what they will
    ask for; their names."""
    loop, rng = asyncio.get_running_loop(), random.Random(72)
    kills: list[str] = []
    due = loop.time() + KILL_EVERY_S
    while not walking.done():
        if any(one.sword is None for one in storms):
            due = loop.time() + KILL_EVERY_S
        elif loop.time() >= due:
            due += KILL_EVERY_S
            name = await kill_one(arena, rng, VICTIMS[len(kills) % len(VICTIMS)])
            if name:
                kills.append(name)
        await asyncio.sleep(LOOK_EVERY_S)
    return kills


async def _judge(trial: Trial, books: Books, storms: list[Storm], witness: Witness) -> None:
    """Identical bytes, each operation once in the database, and enough of everything happened."""
    for text in witness.differences:
        trial.found(text)
    stored = {
        (one.me.name, *number): answer
        for one in storms
        for number, answer in (await asyncio.to_thread(books.operations, one.me.user)).items()
    }
    for fault in operation_faults(witness, stored):
        trial.found(fault)
    wanted = sum(one.requests for one in storms)
    done = sum(len(one.done) for one in storms)
    trial.expect(done == wanted, f"{done} of {wanted} requests came to an end")
    judge_spread(trial, witness)


def judge_spread(trial: Trial, witness: Witness) -> None:
    """The storm was one: numbers were sent up to 20 times, and several servers answered the same
    number."""
    copies = sum(witness.sent.values())
    answers = sum(witness.answers.values())
    elsewhere = sum(len(ports) > 1 for ports in witness.servers.values())
    most = max(witness.sent.values(), default=0)
    trial.expect(most > COPIES_MAX // 2, f"no number was sent more than {most} times")
    trial.expect(elsewhere > 0, "no number was answered by two servers")
    trial.expect(answers > len(witness.told), "no answer was told twice")
    trial.tried(
        f"{len(witness.told)} operations, {copies} copies sent, at most {most} of one; {answers} "
        f"answers, all of one operation the same bytes; {elsewhere} answered by several servers"
    )
    for name, value in (
        *(("operations", len(witness.told)), ("copies", copies), ("answers", answers)),
        *(("copies_most", most), ("answered_by_several_servers", elsewhere)),
    ):
        trial.figure(name, value)


async def _is_old(books: Books, users: list[int]) -> bool:
    """Whether all lines of these players' log are older than now, soon: what a purge calls old is
    told by the clocks of the servers that decided, and one that is ahead decides in the future."""
    until_s = time.monotonic() + OLD_S
    while time.monotonic() < until_s:
        ((young,),) = await asyncio.to_thread(
            books.rows,
            "SELECT COUNT(*) FROM event_log WHERE created_ms >= UNIX_TIMESTAMP(NOW(3)) * 1000 AND"
            f" user_id IN ({', '.join(['%s'] * len(users))})",
            *users,
        )
        if not young:
            return True
        await asyncio.sleep(LOOK_EVERY_S)
    return False


def _expect_purged(trial: Trial, books: Books, user: int, before_ms: int) -> None:
    """A player whose log was left alone is named, with what keeps it."""
    ((session_epoch, floor_epoch, version),) = books.rows(
        "SELECT session_epoch, operation_floor_epoch, version FROM player_head WHERE user_id = %s",
        user,
    )
    lines = books.rows(
        "SELECT operation_epoch, version, kind, created_ms - %s FROM event_log "
        "WHERE user_id = %s ORDER BY version LIMIT 20",
        *(before_ms, user),
    )
    trial.expect(
        floor_epoch > 0,
        f"user {user} was not purged: session {session_epoch}, version {version}, lines as "
        f"(operation epoch, version, kind, ms after the edge): {lines}",
    )


def judge_refusals(trial: Trial, witness: Witness) -> None:
    """Every operation that was acknowledged was refused as expired at last."""
    expired = int(Code.OPERATION_EXPIRED)
    wrong = [number for number in witness.told if witness.refused.get(number, [0])[-1] != expired]
    trial.expect(
        not wrong, f"{len(wrong)} purged operations were not refused as expired: {wrong[:5]}"
    )
    trial.figure("refused_after_purge", len(witness.told) - len(wrong))
