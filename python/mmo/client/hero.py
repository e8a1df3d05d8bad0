"""One player as his client knows him: credentials, tokens, where he is, and what he was told he
owns.

Owns the client's own record of everything acknowledged, which proofs compare with the store. Never
sends anything; `session` does, on its behalf.
"""

import random
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from mmo.client.meter import Meter
from mmo.client.raid_log import RAID_GRANT, RaidLog
from mmo.wire.messages.hunt import GrantReward, KillReward, MonsterRow
from mmo.wire.messages.inventory import ItemsExpired
from mmo.wire.messages.presence import ItemView, ServerLeaving, Welcome

Address = tuple[str, int]


class Policy(msgspec.Struct, frozen=True):
    """How patient a client is. `answer_ms`: a healthy connection answers within this.
    `patience_ms`: how long it comes again after RETRY_LATER, full servers and lost connections.
    `faults`: the cluster is being broken on purpose, so a silent connection is treated as a lost
    one. `catch_up_ms`: how far behind its own pace a client may fall and still do all it meant to,
    as a load test's does; 0: it never makes up for what a slow answer cost it."""

    answer_ms: float = 10_000
    patience_ms: float = 30_000
    pause_ms_min: float = 50
    pause_ms_max: float = 1_000
    catch_up_ms: float = 0
    faults: bool = False


class Record:
    """What the servers acknowledged. `loose` counts requests whose end was never told (the
    connection died first): each may or may not have given something, so with any the record is a
    lower bound and without it is exact."""

    def __init__(self) -> None:
        self.known = False
        self.level = 1
        self.exp = 0
        self.gold = 0
        self.cash = 0
        self.mileage = 0
        self.claimed: set[tuple[int, int, int]] = set()  # rewards: pass, level, line
        self.items: dict[int, ItemView] = {}
        self.loose = 0
        self.kills = 0
        self.levels_gained = 0
        self.granted: set[tuple[int, int]] = set()  # claimed grants: source kind and id

    def reward(self, reward: KillReward) -> None:
        """A kill's reward was told after its commit."""
        self.kills += 1
        self.level, self.exp, self.gold = reward.level, reward.exp, reward.gold
        self.levels_gained += reward.levels_gained
        for item in reward.items:
            self.items[item.uid] = item

    def grant(self, grant: GrantReward) -> None:
        """What somebody left for the player was claimed and told after its commit."""
        self.granted.add((grant.source_kind, grant.source_id))
        self.level, self.exp, self.gold = grant.level, grant.exp, grant.gold
        self.cash, self.mileage = grant.cash, grant.mileage
        for item in grant.items:
            self.items[item.uid] = item
        self.lose(grant.gone)

    def lose(self, uids: Iterable[int]) -> None:
        """Items were told to be no more."""
        for uid in uids:
            self.items.pop(uid, None)

    def compare(self, told: Welcome) -> list[str]:
        """Differences between the record and what a server tells on arrival, as sentences; empty
        when they agree (exactly, or at least as much while something is loose). A rented item whose
        days are over by the server's clock may be gone untold."""
        if not self.known:
            return []
        found: list[str] = []
        exact = self.loose == 0
        mine, theirs = (self.level, self.exp), (told.level, told.exp)
        if theirs < mine or (exact and theirs != mine):
            found.append(f"level and exp {theirs}, acknowledged {mine}")
        if told.gold < self.gold or (exact and told.gold != self.gold):
            found.append(f"gold {told.gold}, acknowledged {self.gold}")
        if (told.cash, told.mileage) != (self.cash, self.mileage):
            mine = (self.cash, self.mileage)
            found.append(f"cash and mileage {(told.cash, told.mileage)}, acknowledged {mine}")
        if exact and claimed_of(told) != self.claimed:
            found.append(f"claimed {sorted(claimed_of(told))}, acknowledged {sorted(self.claimed)}")
        held = items_of(told)
        for uid, item in self.items.items():
            there = held.get(uid)
            if there is None:
                if not 0 < item.expires_ms <= told.now_ms:
                    found.append(f"item {uid} (code {item.code}) is gone")
            elif (there.kind, there.code) != (item.kind, item.code):
                found.append(f"item {uid} is code {there.code}, acknowledged {item.code}")
            elif there.count < item.count or (exact and there != item):
                found.append(f"item {uid} is {there}, acknowledged {item}")
        if exact:
            found += [f"item {uid} was never told" for uid in held.keys() - self.items.keys()]
        return found

    def adopt(self, told: Welcome) -> None:
        """What a server told on arrival is acknowledged from now on."""
        self.known = True
        self.level, self.exp, self.gold = told.level, told.exp, told.gold
        self.cash, self.mileage = told.cash, told.mileage
        self.claimed = claimed_of(told)
        self.items = items_of(told)


def items_of(told: Welcome) -> dict[int, ItemView]:
    """All three inventories by uid."""
    return {item.uid: item for item in (*told.equipment, *told.consumables, *told.materials)}


def claimed_of(told: Welcome) -> set[tuple[int, int, int]]:
    """Claimed rewards of the running passes: (pass, level, line)."""
    return {(one.pass_id, level, line) for one in told.passes for level, line in one.claimed}


class Hero:
    """A player and his luck. `clock` gives seconds of any monotonic clock; `rng` decides everything
    that is left to chance, so a seed repeats the walk."""

    def __init__(
        self,
        name: str,
        password: str,
        logins: list[Address],
        meter: Meter,
        rng: random.Random,
        clock: Callable[[], float],
        policy: Policy | None = None,
    ) -> None:
        self.name = name
        self.password = password
        self.logins = logins
        self.meter = meter
        self.rng = rng
        self.clock = clock
        self.policy = policy or Policy()
        self.record = Record()
        self.user = 0
        self.session_epoch = 0
        self.operation_counter = 0
        self.ticket = ""
        self.center: Address | None = None
        self.centers: list[Address] = []  # all that were open when one told
        self.center_leaves = False  # it said where to go and ends soon
        self.leaving: ServerLeaving | None = None  # the game server ends soon; a seat waits there
        self.login_token = ""
        self.session_token = ""
        self.game: Address | None = None  # the channel server that owns him, when one does
        self.game_number = 0
        self.channel = 0
        self.monsters: dict[int, MonsterRow] = {}
        self.target = 0  # number of the monster he strikes at
        self.pace_ms = 0.0  # attack cooldown as learned from refusals
        self.hit_at = -1e9
        self.renewed_at = 0.0
        self.known_at = 0.0  # when the center last heard of him
        self.raids = RaidLog()
        self.hit_open = False  # a blow or its reward is not told yet
        self.rewards: list[KillReward] = []  # told and not yet looked at
        self.due: float | None = None  # when the next request was meant to be sent
        self.told_meanwhile: list[Welcome] | None = None
        """A request is open whose answer says whether it happened: what arrivals told since."""

    def next_operation(self) -> tuple[int, int]:
        """A fresh operation number: (session epoch, counter)."""
        self.operation_counter += 1
        return (self.session_epoch, self.operation_counter)

    def take_due(self) -> float:
        """When the request that is sent now was meant to be sent: now, unless somebody set `due`.
        Latency is measured from here, so a request that waited for the answer before it tells."""
        due, self.due = self.due, None
        return self.clock() if due is None else due

    def mean(self, due: float | None) -> float:
        """What is asked next was meant at `due`, without it now. Returns when."""
        self.due = due
        return self.clock() if due is None else due

    def meant_after(self, last: float, wait_ms: float) -> float:
        """When the act after the one that was meant at `last` is meant."""
        now, catch_up_ms = self.clock(), self.policy.catch_up_ms
        if not catch_up_ms:
            return now + wait_ms / 1000
        return max(last + wait_ms / 1000, now - catch_up_ms / 1000)

    def hear(self, message: Any) -> None:
        """Something a server said unasked."""
        if isinstance(message, KillReward):
            self.record.reward(message)
            self.rewards.append(message)
            self.hit_open = False
        elif isinstance(message, GrantReward):
            self.record.grant(message)
        elif isinstance(message, ItemsExpired):
            self.record.lose(message.uids)
        elif isinstance(message, ServerLeaving):
            if message.token:
                self.leaving = message
            else:
                self.center, self.center_leaves = (message.host, message.port), True
        else:
            self.raids.hear(message, self.user)

    def settle_at(self, address: Address | None, number: int) -> None:
        """A game server owns the player now, None: a center does. He is in no channel yet."""
        self.game, self.game_number, self.channel = address, number, 0
        self.leaving = None

    def know_centers(self, told: list[Address]) -> None:
        """A center told which are open."""
        if told:
            self.centers = [(host, port) for host, port in told]

    def try_another_center(self) -> None:
        """The one in use does not answer: the next one that was told of is tried."""
        if self.center in self.centers and len(self.centers) > 1:
            at = self.centers.index(self.center)
            self.center = self.centers[(at + 1) % len(self.centers)]

    def meet(self, told: Welcome) -> None:
        """Arrived: compare with the record, then go on from what was told."""
        if self.told_meanwhile is not None:
            self.told_meanwhile.append(told)
        else:
            for difference in self.record.compare(told):
                self.meter.error(f"{self.name}: {difference}")
            self.record.adopt(told)
        self.user = told.user
        if told.session_epoch != self.session_epoch:
            self.session_epoch = told.session_epoch
            self.operation_counter = 0
        self.operation_counter = max(self.operation_counter, told.operation_counter)
        if told.session_token:
            self.session_token = told.session_token
            self.renewed_at = self.clock()
            self.know_centers(told.centers)

    def loosen(self) -> None:
        """The connection ended: what was on its way may have happened or not."""
        if self.hit_open:
            self.record.loose += 1
            self.hit_open = False
        told = {source for kind, source in self.record.granted if kind == RAID_GRANT}
        self.record.loose += self.raids.loosen(told)
        self.rewards.clear()
