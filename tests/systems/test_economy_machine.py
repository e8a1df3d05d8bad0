"""Any sequence of messages, by a machine that tries to make money or items out of nothing.

Its books are its own: they are filled from the changes that rules return and compared with the
player after each step. What a player sends may only do what the shop's price list, the rewards of
passes and the item master say.
"""

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.systems.game import CONTENT, Game, parts, player

from mmo.content.tables import CONSUMABLE, EQUIPMENT, MATERIAL
from mmo.contract import Outcome, Refuse
from mmo.state.bag import Item, ItemBorn, ItemDied, ItemEnhanced, ItemStacked
from mmo.state.pass_progress import PassProgress, PassRewardClaimed
from mmo.state.wallet import COINS_MAX, Account, CoinsMoved, Currency
from mmo.systems import enhance, growth, items, season_pass, shop
from mmo.wire.messages.enhance import Enhance, EnhanceOk
from mmo.wire.messages.hunt import KillEarned
from mmo.wire.messages.inventory import (
    ItemDrop,
    ItemEquip,
    ItemMove,
    ItemsExpire,
    ItemSplit,
    ItemUnequip,
    ItemUse,
)
from mmo.wire.messages.season_pass import PassBuy, PassClaim, PassEvent
from mmo.wire.messages.session import Refused
from mmo.wire.messages.shop import Buy, BuyOk

OP = (1, 1)
BORN_MS = 1_795_000_000_000  # both passes of the box run then
DAY_MS = shop.DAY_MS
ANY = st.one_of(st.integers(-2, 12), st.sampled_from([-(2**63), 2**63 - 1, 2**31, 65_535, 99, 100]))
OWNED = (
    Item(1, EQUIPMENT, 0, 1, 1, equipped=True),
    Item(2, EQUIPMENT, 1, 3, 1),
    Item(3, CONSUMABLE, 0, 1, 90),
    Item(4, CONSUMABLE, 1, 1, 20),
    Item(5, MATERIAL, 0, 1, 5),
    Item(6, MATERIAL, 1, 1, 6),
)
SHOPPED = {Account.SINK_SHOP, Account.MINT_MILEAGE}


class Economy(RuleBasedStateMachine):
    """One player, his books, and a clock that only goes on."""

    @initialize(gold=st.sampled_from([0, 1_000, 10**6, COINS_MAX]), cash=st.sampled_from([0, 900]))
    def begin(self, gold: int, cash: int) -> None:
        self.game = Game("center", 2)
        self.game.now_ms = BORN_MS
        self.resident = player(gold=gold, cash=cash, mileage=60, items=OWNED, login_ms=BORN_MS)
        self.resident.pass_progress[1] = PassProgress(1, 5)
        self.coins = [gold, cash, 60]
        self.held: Counter[tuple[int, int]] = Counter()
        for item in OWNED:
            self.held[item.kind, item.code] += item.count
        self.claimed: set[tuple[int, int, int]] = set()
        self.bought: Counter[tuple[int, int]] = Counter()
        self.kills = 0

    # what the machine's books say ---------------------------------------------------------------

    def act(self, function: Any, message: Any, *needs: str) -> Outcome | None:
        """One message: refused, or its changes in the books and in the player."""
        outcome = function(message, **parts(self.resident, *needs), env=self.game.env(1))
        if isinstance(outcome, Refuse) or isinstance(next(iter(outcome.replies), None), Refused):
            assert isinstance(outcome, Refuse) or not outcome.changes
            return None
        transferred: Counter[tuple[int, int]] = Counter()
        for change in outcome.changes:
            self._book(change, transferred)
            change.apply(self.resident)
        assert not any(transferred.values()), "stacks of one player made or lost something"
        assert isinstance(outcome, Outcome)
        return outcome

    def _book(self, change: Any, transferred: Counter[tuple[int, int]]) -> None:
        kind = type(change)
        if kind is CoinsMoved:
            assert change.amount
            self.coins[change.currency] += change.amount
        elif kind is ItemBorn or kind is ItemStacked or kind is ItemDied:
            item = change.item
            delta = item.count if kind is ItemBorn else -item.count
            delta = change.delta if kind is ItemStacked else delta
            self.held[item.kind, item.code] += delta
            if change.source == Account.TRANSFER:
                transferred[item.kind, item.code] += delta
        elif kind is PassRewardClaimed:
            name = (change.pass_id, change.level, change.line)
            assert name not in self.claimed, "a reward was claimed twice"
            self.claimed.add(name)

    def sources(self, outcome: Outcome | None) -> set[int]:
        """Accounts that an outcome touches."""
        changes = outcome.changes if outcome is not None else ()
        found = {getattr(c, "account", getattr(c, "source", None)) for c in changes}
        return {int(source) for source in found if source is not None}

    def uid(self, place: int, wild: int) -> int:
        """One of his items, or a number of any kind."""
        owned = self.resident.bag.items()
        return owned[place % len(owned)].uid if owned and place >= 0 else wild

    # what a player sends ------------------------------------------------------------------------

    @rule(
        line=st.one_of(st.sampled_from([7, *sorted(CONTENT.shop.lines)]), ANY),
        quantity=st.one_of(st.integers(1, 2), ANY),
        lie=st.sampled_from([0, 0, 0, -1, 1]),
    )
    def buys(self, line: int, quantity: int, lie: int) -> None:
        row = CONTENT.shop.lines.get(line)
        price = (row.price if row is not None else 1) + lie
        message = Buy(OP, CONTENT.shop.catalogue, line, quantity, price)
        before, held = list(self.coins), Counter(self.held)
        needs = ("wallet", "bag", "counters", "pass_progress")
        outcome = self.act(shop.buy, message, *needs)
        if outcome is None:
            return
        assert row is not None and not lie and quantity >= 1
        reply = outcome.replies[0]
        assert isinstance(reply, BuyOk) and reply.spent == row.price * quantity
        before[row.currency] -= row.price * quantity
        before[Currency.MILEAGE] += row.mileage * quantity
        assert self.coins == before, "a purchase took another price"
        held[row.kind, row.code] += row.count * quantity
        assert self.held == held, "a purchase gave something else"
        assert self.sources(outcome) <= SHOPPED
        if row.daily_limit:
            today = (line, self.game.now_ms // DAY_MS)
            self.bought[today] += quantity
            assert self.bought[today] <= row.daily_limit

    @rule(place=st.integers(-1, 30), wild=ANY, count=ANY)
    def uses(self, place: int, wild: int, count: int) -> None:
        needs = ("bag", "growth", "wallet")
        outcome = self.act(items.use, ItemUse(OP, self.uid(place, wild), count), *needs)
        assert self.sources(outcome) <= {Account.SINK_USE, Account.MINT_USE}

    @rule(place=st.integers(-1, 30), wild=ANY, count=ANY)
    def drops(self, place: int, wild: int, count: int) -> None:
        outcome = self.act(items.drop, ItemDrop(OP, self.uid(place, wild), count), "bag")
        assert self.sources(outcome) <= {Account.SINK_DROP}

    @rule(place=st.integers(-1, 30), wild=ANY, slot=st.one_of(st.integers(0, 3), ANY))
    def moves(self, place: int, wild: int, slot: int) -> None:
        outcome = self.act(items.move, ItemMove(OP, self.uid(place, wild), slot), "bag")
        assert self.sources(outcome) <= {Account.TRANSFER}

    @rule(place=st.integers(-1, 30), wild=ANY, count=ANY)
    def splits(self, place: int, wild: int, count: int) -> None:
        outcome = self.act(items.split, ItemSplit(OP, self.uid(place, wild), count), "bag")
        assert self.sources(outcome) <= {Account.TRANSFER}

    @rule(place=st.integers(-1, 30), wild=ANY, off=st.booleans())
    def wears(self, place: int, wild: int, off: bool) -> None:
        uid = self.uid(place, wild)
        if off:
            outcome = self.act(items.unequip, ItemUnequip(OP, uid), "bag")
        else:
            outcome = self.act(items.equip, ItemEquip(OP, uid), "bag")
        assert self.sources(outcome) == set()

    @rule(place=st.integers(-1, 30), wild=ANY)
    def enhances(self, place: int, wild: int) -> None:
        uid = self.uid(place, wild)
        before, gold = self.resident.bag.get(uid), self.coins[Currency.GOLD]
        needs = ("head", "bag", "wallet", "pass_progress")
        outcome = self.act(enhance.enhance, Enhance(OP, uid), *needs)
        if outcome is None:
            return
        after, reply = self.resident.bag.get(uid), outcome.replies[0]
        assert before is not None and after is not None and isinstance(reply, EnhanceOk)
        step = CONTENT.enhance.step[before.enhance]
        assert self.coins[Currency.GOLD] == gold - step.cost_gold
        assert after.attempts == before.attempts + 1 == reply.attempt
        assert after.enhance == before.enhance + (reply.roll_ppm < step.chance_ppm)
        assert sum(type(change) is ItemEnhanced for change in outcome.changes) == 1

    @rule(
        number=st.sampled_from([1, 1, 1, 2, 0, -1, 2**63 - 1]),
        level=st.integers(1, 10),
        line=st.sampled_from([0, 0, 0, 1, -1, 2]),
        wild=ANY,
    )
    def claims(self, number: int, level: int, line: int, wild: int) -> None:
        paid = [progress.pass_id for progress in self.resident.pass_progress.values()
                if progress.paid]  # fmt: skip
        message = PassClaim(OP, number, level if wild != 99 else wild, line)
        needs = ("wallet", "bag", "pass_progress")
        outcome = self.act(season_pass.claim, message, *needs)
        if outcome is None:
            return
        season = CONTENT.passes.seasons[number]
        assert season.running(self.game.now_ms) and (not line or number in paid)
        assert self.resident.pass_progress[number].level >= message.level
        assert self.sources(outcome) <= {Account.MINT_PASS}

    @rule(level=st.sampled_from([1, 2, 5]))
    def claims_what_he_may_have_claimed(self, level: int) -> None:
        self.claims(number=1, level=level, line=0, wild=0)

    @rule(quantity=st.integers(1, 3))
    def buys_what_is_limited(self, quantity: int) -> None:
        self.buys(line=7, quantity=quantity, lie=0)

    @rule(number=st.one_of(st.integers(1, 2), ANY))
    def opens_the_paid_line(self, number: int) -> None:
        cash = self.coins[Currency.CASH]
        message = PassBuy(OP, number)
        outcome = self.act(season_pass.buy_line, message, "wallet", "pass_progress")
        if outcome is not None:
            price = CONTENT.passes.seasons[number].price_cash
            assert self.coins[Currency.CASH] == cash - price

    # what the server does -----------------------------------------------------------------------

    @rule(kind=st.integers(0, 10), drop=st.integers(-1, 3))
    def kills_a_monster(self, kind: int, drop: int) -> None:
        row = CONTENT.monsters[kind]
        fallen = (2, drop, 3) if drop > 0 else None
        needs = ("growth", "wallet", "bag", "pass_progress")
        message = KillEarned(1, kind, row.exp, row.gold, fallen)
        outcome = self.act(growth.reward_kill, message, *needs)
        assert self.sources(outcome) <= {Account.MINT_HUNT, Account.SINK_EXPIRED}

    @rule(event=st.sampled_from(["login", "raid", "sing"]))
    def lives(self, event: str) -> None:
        needs = ("pass_progress", "counters")
        outcome = self.act(season_pass.count_event, PassEvent(1, event), *needs)
        assert self.sources(outcome) == set()

    @rule(
        passed_ms=st.sampled_from([1, 60_000, DAY_MS // 2, DAY_MS, 8 * DAY_MS, 100 * DAY_MS]),
        swept=st.booleans(),
    )
    def waits(self, passed_ms: int, swept: bool) -> None:
        self.game.now_ms += passed_ms
        if swept:
            outcome = self.act(items.expire, ItemsExpire(1), "bag")
            assert self.sources(outcome) <= {Account.SINK_EXPIRED}

    # what must be true at every moment ----------------------------------------------------------

    @invariant()
    def the_books_agree_with_the_purse(self) -> None:
        wallet = self.resident.wallet
        assert [wallet.gold, wallet.cash, wallet.mileage] == self.coins
        assert all(0 <= amount <= COINS_MAX for amount in self.coins)

    @invariant()
    def the_books_agree_with_the_bag(self) -> None:
        lying: Counter[tuple[int, int]] = Counter()
        for item in self.resident.bag.items():
            lying[item.kind, item.code] += item.count
        assert lying == +self.held and min(self.held.values(), default=0) >= 0

    @invariant()
    def the_bag_is_in_order(self) -> None:
        held = self.resident.bag.items()
        assert len({(item.kind, item.slot) for item in held}) == len(held)
        assert len({item.uid for item in held}) == len(held)
        for item in held:
            row = CONTENT.item(item.kind, item.code)
            assert row is not None and 1 <= item.count <= row.stack_max
            assert 0 <= item.slot < CONTENT.slots[item.kind]
            assert 0 <= item.enhance <= min(item.attempts, len(CONTENT.enhance.step))
            assert item.kind == EQUIPMENT or not (item.equipped or item.attempts)
        worn = [item for item in held if item.equipped]
        assert len(worn) <= 1 and self.resident.bag.worn() == (worn[0] if worn else None)

    @invariant()
    def passes_are_in_order(self) -> None:
        for progress in self.resident.pass_progress.values():
            season = CONTENT.passes.seasons[progress.pass_id]
            assert 0 <= progress.level <= season.level_max
            need = (*season.exp_need, 1)[progress.level]
            assert 0 <= progress.exp < need
            done = {mission.number: mission.times for mission in season.missions}
            assert all(count.done <= done[count.mission] for count in progress.missions)
        claimed = {
            (progress.pass_id, level, line)
            for progress in self.resident.pass_progress.values()
            for level, line in progress.claimed
        }
        assert claimed == self.claimed


Economy.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestNoSequenceOfMessagesMakesMoneyOrItems = Economy.TestCase


def test_machine_when_a_rule_gives_something_for_nothing_then_finds_it() -> None:
    """The machine's own books notice a planted gift."""
    machine = Economy()
    machine.begin(gold=1_000, cash=0)
    machine.buys(line=1, quantity=1, lie=0)
    machine.the_books_agree_with_the_purse()
    CoinsMoved(Currency.GOLD, 1, Account.MINT_GRANT).apply(machine.resident)
    found = False
    try:
        machine.the_books_agree_with_the_purse()
    except AssertionError:
        found = True
    assert found
