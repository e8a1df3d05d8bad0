"""What happens in a load test that nobody asked for: connections lost, logins forced, raids without
a result; and which turns count, which frames of a battle have an age.

Limits and gates over these figures are in `test_load_tests`, what is left in `test_load_left`.
"""

import json
import random
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from loadtest.attacks import BYTES, STRANGER, foreign, forge, launch, noise
from loadtest.meter import Book, LoadHero, LoadShell, UserMeter

from mmo.client.coming_back import come_back
from mmo.client.protocol import Answer, Push
from mmo.client.session import BLAMELESS, note_loss
from mmo.client.shopper import Market, repeat_last
from mmo.client.steps import CENTER, GAME, RAID, Dial, Drop, Lost, Receive, Send, Step, Walk
from mmo.wire import codec
from mmo.wire.messages.inventory import ItemUse, ItemUseOk
from mmo.wire.messages.raid import RaidEnded, RaidEntered, RaidStart, RaidStream, ScoreRow
from mmo.wire.messages.raid_queue import RaidFreed
from mmo.wire.messages.session import HelloOk, Refused
from mmo.wire.opcode import CloseReason, Code
from mmo.wire.raid_stream import ROOM


class Line:
    """A connection on which these events come, then its end."""

    def __init__(self, lane: str, *events: Any, reason: int = 0) -> None:
        self.lane, self.events, self.reason = lane, list(events), reason

    def receive(self, wait_s: float) -> Any:
        if not self.events:
            raise Lost(self.lane, self.reason)
        return self.events.pop(0)

    def cut(self, reason: int = 0) -> None:
        pass


class Clock:
    """Stands still until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def player() -> tuple[LoadHero, Book]:
    clock = Clock()
    book = Book(lambda name, took_ms, fault: None, clock)
    me = LoadHero("Ann", "a password", [], UserMeter(book), random.Random(1), clock)
    me.play_into(book)
    me.user = 7
    return me, book


def shell() -> tuple[Any, Book]:
    """Any: its lanes take a line of the test."""
    book = Book(lambda name, took_ms, fault: None)
    return LoadShell("", UserMeter(book)), book


def one(step: Step) -> Walk[Any]:
    return (yield step)


def lose(made: Any, step: Step) -> None:
    with pytest.raises(Lost):
        made.walk(one(step))


@pytest.fixture
def nobody() -> Iterator[tuple[str, int]]:
    """An address at which nothing listens, kept so while the test runs."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield ("127.0.0.1", held.getsockname()[1])


# -- connections ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", sorted(BLAMELESS - {CloseReason.MOVED}))
def test_an_end_that_blames_nobody_is_lost_all_the_same(reason: int) -> None:
    made, book = shell()
    made.lanes[GAME] = Line(GAME, reason=reason)
    lose(made, Receive(GAME, 1.0))
    assert list(book.figures()["lost"].values()) == [1]


def test_one_outage_is_lost_once_however_often_the_user_tries(nobody: tuple[str, int]) -> None:
    made, book = shell()
    made.lanes[CENTER] = Line(CENTER, Push("news"))
    made.walk(one(Receive(CENTER, 1.0)))
    assert not book.lost
    lose(made, Receive(CENTER, 1.0))
    for _ in range(3):
        lose(made, Dial(CENTER, *nobody))
    made.lanes[CENTER] = Line(CENTER)
    lose(made, Receive(CENTER, 1.0))  # it listens again and says nothing
    assert sum(book.lost.values()) == 1
    made.lanes[CENTER] = Line(CENTER, Push("back"))
    made.walk(one(Receive(CENTER, 1.0)))
    lose(made, Receive(CENTER, 1.0))
    assert sum(book.lost.values()) == 2


def test_a_server_that_is_not_there_is_a_loss_to_who_comes_anew(nobody: tuple[str, int]) -> None:
    made, book = shell()
    lose(made, Dial("login", *nobody))
    ((text, times),) = book.lost.items()
    assert times == 1 and text.startswith("connection to login lost: cannot dial 127.0.0.1")


def test_what_a_user_cuts_himself_is_not_lost() -> None:
    made, book = shell()
    made.lanes[GAME] = Line(GAME, Push("news"))
    made.walk(one(Drop(GAME)))
    lose(made, Receive(GAME, 1.0))
    me, his = player()
    note_loss(me, Lost(GAME, 0, "cut by himself"))
    assert not book.lost and not his.lost and sum(his.totals.values()) == 1


def test_a_raid_server_that_ends_a_told_raid_has_lost_nobody() -> None:
    made, book = shell()
    made.lanes[RAID] = Line(RAID, reason=CloseReason.MOVED)
    lose(made, Receive(RAID, 1.0))
    assert not book.lost


def test_a_server_that_sends_its_users_away_is_counted_where_they_notice() -> None:
    me, book = player()
    note_loss(me, Lost(GAME, CloseReason.MOVED, "the server leaves"))
    assert book.figures()["lost"] == {"connection to game lost: the server leaves": 1}


def test_who_attacks_a_server_that_is_not_there_has_attacked_nobody(
    nobody: tuple[str, int],
) -> None:
    with pytest.raises(Lost, match="cannot dial"):
        launch(BYTES[0], nobody, "127.0.0.1")
    with pytest.raises(Lost, match="cannot dial"):
        forge(noise(random.Random(1)), nobody, "127.0.0.1")


def test_nothing_but_the_signature_is_wrong_of_a_token_that_a_stranger_signed() -> None:
    key, names = Ed25519PrivateKey.generate(), {"kid": "one", "typ": "session+jwt"}
    claims = {"iss": "mmo", "aud": "session", "sub": "7", "nbf": 1, "exp": 2, "epoch": 4}
    forged = foreign(jwt.encode(claims, key, algorithm="EdDSA", headers=names))
    assert jwt.get_unverified_header(forged) == names | {"alg": "EdDSA"}
    options: Any = {"audience": "session", "algorithms": ["EdDSA"]}
    told = jwt.decode(forged, STRANGER.public_key(), **options)  # and the time is right
    assert told | {"nbf": 1, "exp": 2} == claims
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(forged, key.public_key(), **options)


def test_a_session_that_is_refused_forces_a_login_and_is_counted() -> None:
    me, book = player()
    me.center, me.session_token = ("127.0.0.1", 1), "a token"
    me.logins = [("127.0.0.1", 2)]
    walk = come_back(me, Lost(CENTER, 0, "cut by himself"), to_lobby=True)
    assert isinstance(next(walk), Dial)
    assert isinstance(walk.send(None), Send)
    assert isinstance(walk.send(1), Receive)
    assert isinstance(walk.send(Answer(1, HelloOk(1, 2, "center", 1, 0))), Send)
    assert isinstance(walk.send(2), Receive)
    assert isinstance(walk.send(Answer(2, Refused(Code.SESSION_OVER))), Drop)
    assert book.figures()["logins_forced"] == 0
    assert book.figures()["displaced"] == {"SESSION_OVER": {"center": 1}}
    assert book.figures()["refusals"] == {"Token": {"SESSION_OVER": 1}}
    assert isinstance(walk.send(None), Drop)
    assert isinstance(walk.send(None), Dial)
    assert book.figures()["logins_forced"] == me.meter.logins_forced == 1


def test_what_is_answered_twice_is_counted_by_the_server_that_repeats_it() -> None:
    me, book = player()
    market, used = Market(), ItemUseOk(5, 2, 1, 0, 2, 0, 70)
    market.last = (ItemUse((1, 1), 5, 1), codec.encode(used))
    for game in (None, None, ("127.0.0.1", 5)):
        me.game = game
        walk = repeat_last(me, market)
        assert isinstance(next(walk), Send)
        assert isinstance(walk.send(7), Receive)
        with pytest.raises(StopIteration):
            walk.send(Answer(7, used))
    told = book.figures()
    assert told["repeated"] == {"here": 2, "elsewhere": 1} and not told["errors"]


# -- raids ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "aborted"),
    [
        (RaidEnded(9, 5, 0, []), 1),
        (RaidFreed(9, False), 1),
        (RaidFreed(9, True), 0),
        (RaidEnded(9, 1, 0, [ScoreRow(0, 7, "Ann", 10, True)]), 0),
    ],
)
def test_a_raid_without_a_result_is_counted_once_for_all_its_members(
    told: Any, aborted: int
) -> None:
    me, book = player()
    other, _ = player()
    other.play_into(book)
    me.hear(told)
    other.hear(told)
    assert book.figures()["raids_aborted"] == aborted


def entered(state: int) -> RaidEntered:
    return RaidEntered(9, 1, 1, 0, state, 300, 300, 8000, 0, [], 0)


def hear_frames(me: Any, *frames: tuple[int, float]) -> None:
    """(tick, when it comes in seconds) each."""
    for tick, at_s in frames:
        record = bytearray(ROOM.size)
        struct.pack_into("<III", record, 0, tick, 300, 8000 - tick * 50)
        me.clock.now = at_s
        me.hear(RaidStream(bytes(record)))


def ages(book: Book) -> list[int]:
    return [round(ms) for ms in book.ages().by_kind.get("RaidStream", ())]


@pytest.mark.parametrize("end", [RaidEnded(9, 5, 0, []), RaidFreed(9, False), None])
def test_frames_of_a_raid_have_an_age_however_it_ends(end: Any) -> None:
    me, book = player()
    me.raids.enter(entered(1))
    me.hear(RaidStart(300, 1, 8000, 50))
    hear_frames(me, (1, 100.05), (2, 100.10), (3, 100.90))
    if end is not None:
        me.hear(end)
    assert ages(book) == [0, 0, 750]
    told = book.figures()["pushes"]["RaidStream"]
    assert (told["count"], round(told["max_ms"])) == (3, 750)


def test_who_comes_into_a_running_battle_takes_ages_too() -> None:
    me, book = player()
    me.raids.enter(entered(2))  # and no start is told
    hear_frames(me, (40, 102.0), (41, 102.15))
    assert ages(book) == [0, 100]


def test_a_battle_that_was_taken_over_keeps_its_frames_and_is_measured_anew() -> None:
    me, book = player()
    me.raids.enter(entered(1))
    me.hear(RaidStart(300, 1, 8000, 50))
    hear_frames(me, (1, 100.05), (2, 100.40))
    me.raids.enter(entered(1))
    me.hear(RaidStart(300, 1, 7950, 50))
    hear_frames(me, (2, 107.00), (3, 107.08))
    assert ages(book) == [0, 300, 0, 30]


def test_frames_that_were_due_before_the_end_of_a_run_count_and_those_after_do_not() -> None:
    me, book = player()
    me.raids.enter(entered(1))
    hear_frames(me, (1, 100.05), (2, 100.20))
    book.close()
    hear_frames(me, (3, 109.0), (6, 109.0))
    me.hear(RaidEnded(9, 1, 0, [ScoreRow(0, 7, "Ann", 10, True)]))
    assert ages(book) == [0, 100, 8850]


# -- turns ----------------------------------------------------------------------------------------

TURNS = """
import gevent, json, msgspec, types
from gevent.pool import Group
from time import monotonic
from loadtest import users
from mmo.client.steps import Lost, Pause
from mmo.errors import MmoError

users.login_addresses = lambda home: []
options = types.SimpleNamespace(home=".", profile="smoke")

def act(me, *kinds):
    for kind in kinds:
        me.meter.action(kind, 1.0)
    yield Pause(0.0)

def fall(me):
    me.meter.action("Hit", 1.0)
    yield Pause(0.0)
    raise MmoError("no further")

def made(kind, here=True):
    user = kind(types.SimpleNamespace(parsed_options=options))
    user.here = here
    return user

def play(user, turn):
    user.turn = turn
    user.play()

hunter = made(users.Hunter)
play(hunter, lambda: act(hunter.me, "Hit"))
play(hunter, lambda: act(hunter.me, "Hit", "Hit"))
wanderer = made(users.Wanderer)
play(wanderer, lambda: act(wanderer.me))
play(wanderer, lambda: fall(wanderer.me))
comer = made(users.Reconnector, here=False)
comer.come = lambda: act(comer.me, "Login")
comer.play()

def seek(me, goes_on):
    yield from act(me, "RaidQueue")
    return found
users.seek_raid = seek
users.take_rewards = lambda me: act(me)
def fight(me, found):
    yield from act(me, "RaidAct")
    if found.raid == 2:
        me.raids.scores[2] = 10
users.fight = fight
raider = made(users.Raider)
for number in (0, 1, 2):
    found = types.SimpleNamespace(raid=number) if number else None
    raider.play()

attacker = made(users.Attacker)
attacker.targets = [("127.0.0.1", 1)]
attacker.me.rng.random = lambda: 0.5
def launch(attack, target, source):
    raise Lost("attack", 0, "cannot dial")
users.launch = launch
attacker.play()
users.launch = lambda attack, target, source: ""
attacker.play()

shopper = made(users.Shopper)
shopper.market = users.Market()
shopper.me.rng.random = lambda: 0.5
users.settle = lambda me: act(me, "Move")
users.keep_known = lambda me: act(me)
users.choose_channel = lambda me: act(me)
users.strike = lambda me: act(me, "Hit")
users.shop_once = lambda me, market: act(me, "Buy")
users.affordable = lambda me, market: []
shopper.play()
users.affordable = lambda me, market: ["a line"]
shopper.play()
shopper.play()

def back(me, lost):
    late.append(round(me.clock() - me.take_due()))
    yield from act(me, "ComeBack")
late, users.come_back = [], back
reconnector = made(users.Reconnector)
reconnector.due -= 60.0
reconnector.play()

attacker.me.session_token, attacker.me.center = "a session", ("127.0.0.1", 2)
shown = []
users.foreign = lambda token: "foreign " + token
users.noise = lambda rng: "noise"
users.forge = lambda token, target, source: shown.append([token, target[1]]) or ""
for kind in (0.06, 0.124, 0.126, 0.19):
    attacker.me.rng.random = lambda: kind
    attacker.play()

def leave(arrives, **now):
    user = made(users.Hunter)
    user.me.rng.random = lambda: 0.9
    user.me.record.known = now.pop("known", True)
    vars(user).update(now)
    users.arrive = arrives
    users.log_out = lambda me: act(me)
    user.on_stop()

def cut(me):
    yield Pause(0.0)
    raise users.GreenletExit

leave(lambda me: act(me))
leave(lambda me: act(me), known=False)
leave(lambda me: act(me), here=False)
leave(cut)

def long_turn():
    yield from cut(None)

stuck = made(users.Hunter)
try:
    stuck.shell.walk(long_turn())
except users.GreenletExit:
    pass
leave(cut, amid=True, shell=stuck.shell)
leave(cut, amid=True)

def stand(me):
    yield Pause(600_000.0)
leave(stand, profile=msgspec.structs.replace(hunter.profile, stop_s=0.01))

# Locust is late: who is told to leave while he waits wakes in the same moment.
late_one = made(users.LoginBurst)
late_one.every_s, late_one.unplanned = 0.02, True
late_one.turn = lambda: wait_a_little(late_one.me)
late_one.environment.catch_exceptions = False
late_one.environment.events = types.SimpleNamespace()
def wait_a_little(me):
    yield Pause(5.0)
group = Group()
late_one.start(group)
gevent.sleep(0.008)
late_one.me.rng.random = lambda: 0.5
gevent.spawn_later(0.0, late_one.stop)
until_s = monotonic() + 0.1
while monotonic() < until_s:
    pass
group.join(timeout=10)
assert not group.greenlets

figures = users.BOOK.figures()
ends = [figures["compared"], figures["cut_off"], figures["cut_off_amid"]]
told = [figures["turns"], figures["raids_aborted"], figures["lost"], ends]
print(json.dumps([*told, late, shown]))
"""


def test_turns_count_by_class_when_they_came_to_what_the_class_is_for_and_so_do_ends() -> None:
    """In a process of its own: locust patches the sockets of the one that imports its users."""
    done = subprocess.run([sys.executable, "-c", TURNS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    turns, aborted, lost, ends, late, shown = json.loads(done.stdout.splitlines()[-1])
    once = {"Raider": 1, "Reconnector": 1}
    assert turns == {"Hunter": 2, "Shopper": 2, "Attacker": 5} | once  # poor, he hunted
    assert aborted == 1  # raid 1 told no result
    assert lost == {"connection to attack lost: cannot dial": 1}
    # one of those who were cut off while leaving was not told to end
    assert ends == [1, 2, {"Hunter": {"long_turn": 1, "": 1}}]
    assert late == [60]
    assert shown[:2] == [["foreign a session", 2]] * 2 and shown[2:] == [["noise", 1]] * 2
