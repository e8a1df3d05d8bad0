"""The user classes: what each kind of player does, one thing after the other, by a plan of his own.

Owns the plan and the eight plots over `mmo.client`'s walks. A user means to do something every
`pace` seconds; what he asks is measured from the moment he meant it, however late the answer before
it let him (no coordinated omission). A pause on purpose, such as a cooldown, moves the plan.
Spawned by locust.
"""

import itertools
import random
import time
from pathlib import Path
from typing import Any

from gevent import GreenletExit, Timeout  # type: ignore[import-untyped]
from gevent.event import Event  # type: ignore[import-untyped]
from locust import User, events, task
from locust.exception import RescheduleTaskImmediately

from loadtest.attacks import BYTES, foreign, forge, launch, noise
from loadtest.meter import Book, LoadHero, LoadShell, UserMeter, add_to
from loadtest.profiles import Profile, profile_named
from mmo.cli.bot import login_addresses
from mmo.client.coming_back import come_back
from mmo.client.fleet import muster_of, source_of
from mmo.client.hero import Policy
from mmo.client.hunting import choose_channel, hold_on, settle, strike
from mmo.client.journeys import go_elsewhere
from mmo.client.raider import fight, seek_raid, take_rewards
from mmo.client.session import (
    arrive,
    code_name,
    keep_known,
    log_in,
    log_out,
    register,
    servers,
)
from mmo.client.shopper import (
    Market,
    affordable,
    claim,
    operate,
    read_market,
    repeat_last,
    shop_once,
    to_lobby,
)
from mmo.client.steps import CENTER, GAME, RAID, Drop, Lost, Walk
from mmo.cluster.home import Home
from mmo.errors import MmoError
from mmo.wire.messages.season_pass import PassClaim
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Code

VANISH_SHARE = 0.25
"""So many leave without a word when the test ends; the others come back once more and compare."""
LOBBY_SHARE = 0.03
PASSWORD_SHARE, TOKEN_SHARE = 0.05, 0.15
"""So many of all attacks are wrong passwords, and tokens: half of them noise, half signed by a
stranger."""
POLICY = Policy(catch_up_ms=1_000)


def tell_locust(name: str, took_ms: float, fault: str) -> None:
    """Locust's own table and report."""
    REQUEST.fire(
        request_type="mmo",
        name=name,
        response_time=took_ms,
        response_length=0,
        exception=MmoError(fault) if fault else None,
    )


REQUEST: Any = events.request  # untyped in locust
BOOK = Book(tell_locust)
_numbers = itertools.count()


class Player(User):
    """One account of its own, from an address of its own."""

    abstract = True
    unplanned = False  # what he does has no length that could be planned
    idle = False  # his turn came to its end without what his class is for

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        options = environment.parsed_options
        self.home = Path(options.home)
        self.profile: Profile = profile_named(options.profile)
        number = next(_numbers)
        seed = random.SystemRandom().randrange(2**32)
        self.meter = UserMeter(BOOK)
        logins = login_addresses(self.home)
        self.me = muster_of(LoadHero, logins, 1, seed, self.meter, POLICY)[0]
        self.me.play_into(BOOK)
        self.shell = LoadShell(source_of(number), self.meter)
        self.source = self.shell.source
        self.every_s = self.profile.pace[type(self).__name__]
        self.due = time.monotonic()
        self.registered = self.here = self.amid = False
        self.bidden = Event()  # to leave

    def wait_time(self) -> float:
        """Seconds until he means to do the next thing; he is late when there are none."""
        self.due += self.every_s * (0.5 + self.me.rng.random())
        return max(0.0, self.due - time.monotonic())

    @task
    def live(self) -> None:
        """One thing, and the time until the next one is due. Locust would wait by itself, but it
        kills who waits: when it is late he has woken by then and is amid something."""
        self.play()
        self.bidden.wait(self.wait_time())
        raise RescheduleTaskImmediately

    def stop(self, force: bool = False) -> bool:
        """He waits no longer."""
        self.bidden.set()
        return bool(super().stop(force))

    def play(self) -> None:
        """One thing, counted once when it goes wrong; he begins anew with a login then."""
        errors, paused_s, came = self.meter.errors, self.shell.paused_s, not self.here
        actions, self.idle, self.amid = self.meter.actions, False, True
        try:
            if came:
                self.shell.walk(self.come())
                self.here = True
            else:
                self.me.due = self.due
                self.shell.walk(self.turn())
                if self.meter.actions > actions and not self.idle:
                    BOOK.turn(type(self).__name__)
        except MmoError as fault:
            if self.meter.errors == errors:
                self.meter.error(f"{type(self).__name__}: {fault}")
            self.gone()
        self.amid = False
        self.me.due = None
        if came or self.unplanned:
            self.due = time.monotonic()
        else:
            self.due += self.shell.paused_s - paused_s

    def come(self) -> Walk[None]:
        """From nothing to where he plays."""
        yield from self.sign_up()
        yield from arrive(self.me)

    def sign_up(self) -> Walk[None]:
        """An account, once."""
        if not self.registered:
            yield from register(self.me)
            self.registered = True

    def turn(self) -> Walk[None]:
        """One thing that he means to do: a blow, where his class says nothing else."""
        yield from hold_on(self.me, self.hunt)

    def hunt(self) -> Walk[None]:
        """A blow, wherever there is a seat; the center is shown now and then that he is there."""
        me = self.me
        yield from settle(me)
        yield from keep_known(me)
        if not me.channel:
            yield from choose_channel(me)
        yield from strike(me)

    def gone(self) -> None:
        """Without a word."""
        self.shell.cut_all()
        self.here = False
        self.me.leave_battle()
        self.me.loosen()
        self.me.settle_at(None, 0)
        self.me.session_token = ""
        self.me.told_meanwhile = None
        self.me.record.known = False

    def on_stop(self) -> None:
        """Most come back once more, and what they are told then is compared with all that was
        acknowledged; the rest, and who is cut off amid something, vanish. Locust waits without end
        for who had nothing to do, so he has a time of his own."""
        self.me.leave_battle(self.me.clock())
        if self.amid:
            add_to(BOOK.cut_off_amid, type(self).__name__, self.shell.stands_in())
        elif self.here and self.me.rng.random() >= VANISH_SHARE:
            errors = self.meter.errors
            try:
                with Timeout(self.profile.stop_s):
                    self.shell.walk(self.leave())
            except MmoError as fault:
                if self.meter.errors == errors:
                    self.meter.error(f"{type(self).__name__} leaving: {fault}")
            except (GreenletExit, Timeout):
                BOOK.cut_off += 1
        self.shell.cut_all()

    def leave(self) -> Walk[None]:
        """Back once more, compare, log out."""
        for lane in (RAID, GAME, CENTER):
            yield Drop(lane)
        self.me.loosen()
        knew = self.me.record.known
        yield from arrive(self.me)
        BOOK.compared += knew
        yield from log_out(self.me)


class LoginBurst(Player):
    """Comes, looks at the list of servers, goes; nothing but passwords and claims."""

    def come(self) -> Walk[None]:
        """An account; every turn is a visit."""
        yield from self.sign_up()

    def turn(self) -> Walk[None]:
        """A visit."""
        yield from hold_on(self.me, self._visit, to_lobby=True)

    def _visit(self) -> Walk[None]:
        yield from arrive(self.me)
        yield from servers(self.me)
        yield from log_out(self.me)

    def leave(self) -> Walk[None]:
        """He is out already."""
        yield Drop(CENTER)


class Wanderer(Player):
    """Never stays: another server, the lobby, out and in again, gone and back; a blow between."""

    def turn(self) -> Walk[None]:
        """A change of place and a blow."""
        yield from hold_on(self.me, self._wander, to_lobby=True)

    def _wander(self) -> Walk[None]:
        yield from go_elsewhere(self.me)
        yield from self.hunt()


class Hunter(Player):
    """Strikes."""


class Shopper(Player):
    """Buys, enhances, uses, moves, wears; hunts while he is poor. One of twenty of these things is
    asked twice, and the last one again from the lobby when he goes there: both must get the same
    bytes."""

    def come(self) -> Walk[None]:
        """And reads the catalogue."""
        yield from super().come()
        self.market = Market()
        yield from hold_on(self.me, lambda: read_market(self.me, self.market), to_lobby=True)

    def turn(self) -> Walk[None]:
        """A purchase keeps its operation number over lost connections, so it is not begun again."""
        me = self.me
        self.idle = not affordable(me, self.market)
        if self.idle:
            yield from hold_on(me, self.hunt)
            return
        if me.game is not None and me.rng.random() < LOBBY_SHARE:
            yield from hold_on(me, lambda: to_lobby(me), to_lobby=True)
            yield from repeat_last(me, self.market)
        yield from shop_once(me, self.market)
        yield from hold_on(me, lambda: keep_known(me), to_lobby=True)


class PassClaimer(Shopper):
    """Hunts for the season pass and claims what it gives; sometimes claims it again."""

    def turn(self) -> Walk[None]:
        """A blow, or the pass."""
        me = self.me
        if me.rng.random() < 0.6:
            yield from hold_on(me, self.hunt)
        elif me.record.claimed and me.rng.random() < 0.3:
            yield from self._again()
        else:
            yield from hold_on(me, lambda: claim(me, self.market), to_lobby=True)

    def _again(self) -> Walk[None]:
        """A reward that he has: refused, whatever the number of the operation."""
        me = self.me
        reward = me.rng.choice(sorted(me.record.claimed))
        message = PassClaim(me.next_operation(), *reward)
        answer = yield from operate(me, self.market, message, (Code.PASS_ALREADY_CLAIMED,))
        if not isinstance(answer, Refused):
            code = code_name(Code.PASS_ALREADY_CLAIMED)
            me.meter.error(f"{me.name}: {reward} was claimed again and not refused with {code}")


class Raider(Player):
    """Queues, fights, takes the reward; most see the battle by datagram."""

    unplanned = True

    def turn(self) -> Walk[None]:
        """A raid from the queue to its reward; no new one once the test ends."""
        me = self.me
        found = yield from seek_raid(me, lambda: BOOK.open)
        if found is not None:
            yield from fight(me, found)
            me.leave_battle()
            yield from hold_on(me, lambda: take_rewards(me), to_lobby=True)
            if found.raid not in me.raids.scores:
                BOOK.raids_aborted.add(found.raid)
        self.idle = found is None or found.raid not in me.raids.scores
        for fault in me.raids.wrong:
            me.meter.error(f"{me.name}: {fault}")
        me.raids.wrong.clear()


class Reconnector(Player):
    """Loses his connections again and again and comes back by his session token."""

    def turn(self) -> Walk[None]:
        """A cut, the way back, which is what was due, and a blow."""
        me = self.me
        lanes = me.rng.choice(((GAME,), (CENTER,), (GAME, CENTER)))
        for lane in lanes:
            yield Drop(lane)
        yield from come_back(me, Lost(lanes[0], 0, "cut by himself"))
        yield from hold_on(me, self.hunt)

    def come(self) -> Walk[None]:
        """To a seat, so that there is a connection to lose."""
        yield from super().come()
        yield from settle(self.me)


class Attacker(Player):
    """No player: bytes that no client would send, forged tokens, wrong passwords. What he must get
    is a clear refusal or a close."""

    def come(self) -> Walk[None]:
        """An account, for wrong passwords, and a session to forge the token of."""
        yield from super().come()
        yield Drop(CENTER)
        file = Home(self.home).read()
        assert file is not None
        roles = ("login", "center", "channel", "raid")
        self.targets = [
            ("127.0.0.1", node.client_port) for node in file.nodes if node.role in roles
        ]

    def turn(self) -> Walk[None]:
        """One attack."""
        me, kind = self.me, self.me.rng.random()
        if kind < PASSWORD_SHARE:
            codes = (int(Code.CREDENTIALS_WRONG), int(Code.LOCKED_OUT))
            reply = yield from log_in(me, password=me.password + "x", expects=codes)
            if not isinstance(reply, Refused):
                me.meter.error(f"{me.name}: a wrong password was accepted")
            return
        began_s = me.take_due()
        try:
            name, fault = self._attack(kind)
        except Lost as lost:
            self.meter.lose(str(lost))
            return
        if fault:
            me.meter.error(f"{me.name}: {fault}")
        else:
            me.meter.action(name, (me.clock() - began_s) * 1000)

    def _attack(self, kind: float) -> tuple[str, str]:
        """What was tried, and what is wrong with the end of it. A token is looked at as far as its
        signature only where its type is known: a session's at the center."""
        me = self.me
        if kind < PASSWORD_SHARE + TOKEN_SHARE / 2:
            assert me.center is not None
            return "ForeignToken", forge(foreign(me.session_token), me.center, self.source)
        target = me.rng.choice(self.targets)
        if kind < PASSWORD_SHARE + TOKEN_SHARE:
            return "ForgedToken", forge(noise(me.rng), target, self.source)
        return "Attack", launch(me.rng.choice(BYTES), target, self.source)

    def leave(self) -> Walk[None]:
        """Nothing is held."""
        yield Drop(CENTER)
