"""The honest players of a flood: by which moment a sample is filed, what is unbearable, and what
raiders leave undone while others queue and prove."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace as Namespace
from typing import Any, cast

import pytest

from mmo.client.hero import Hero
from mmo.client.protocol import Answer
from mmo.client.session import ask
from mmo.client.steps import CENTER, RAID, Drop, Lost, Pause, Prove, Receive, Send, Walk
from mmo.proof import flood, flood_honest
from mmo.proof.arena import Arena
from mmo.proof.flood_counts import Counted, Sent
from mmo.proof.flood_felt import (
    HUNT,
    RAID_ANSWER,
    RAID_EFFECT,
    RAID_STREAM,
    Feeling,
    Felt,
    Limits,
    Side,
    Spans,
    feelings,
    judge_feelings,
)
from mmo.proof.flood_guests import RAIDERS, Departure, Seat
from mmo.proof.flood_honest import (
    POLICY,
    Honest,
    HonestHunters,
    HonestRaiders,
    attend,
    hunt_by_plan,
)
from mmo.proof.verdict import Trial, Verdict
from mmo.wire.messages.presence import ServerListAsk, ServerListOk
from mmo.wire.messages.raid import (
    DatagramKey,
    RaidAct,
    RaidEnded,
    RaidReady,
    RaidStart,
    RaidStream,
    RaidStruck,
    ScoreRow,
)
from mmo.wire.messages.raid_queue import RaidMatched
from mmo.wire.raid_stream import ROOM

LIMITS = Limits(least_ms=25.0, samples_min=3)
PROOF = Prove(RAID, DatagramKey(1, bytes(16), 1, 9))


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def me(clock: Clock) -> Honest:
    felt = Felt(lambda kind: RAID_ANSWER if kind == "RaidAct" else HUNT, clock)
    hero = Honest("ann", "a password", [], felt, random.Random(1), clock, POLICY)
    hero.play_into(felt)
    hero.user = 7
    return hero


def sides(felt: Felt, sort: str, quiet: Spans, flooded: Spans) -> tuple[Side, Side]:
    (one,) = feelings([felt], [sort], quiet, flooded)
    return one.quiet, one.flooded


def spans(begun_s: float, ended_s: float) -> Spans:
    one = Spans()
    one.add(begun_s, ended_s)
    return one


# -- when a sample was meant ----------------------------------------------------------------------


def test_sample_when_its_answer_is_late_then_belongs_to_when_it_was_meant(clock: Clock) -> None:
    felt = Felt(lambda _: HUNT, clock)
    for came_s, took_ms in ((103.0, 4_000.0), (104.5, 300.0), (109.0, 3_000.0), (109.0, 500.0)):
        clock.now = came_s
        felt.action("Hit", took_ms)
    quiet, flooded = sides(felt, HUNT, spans(98.0, 102.0), spans(104.0, 108.0))
    assert (quiet.count, quiet.p99_ms) == (1, 4_000.0)
    assert (flooded.count, flooded.p99_ms) == (2, 3_000.0)
    assert flooded.per_s == 0.5
    assert felt.actions == 4


def test_sample_when_its_action_is_of_no_sort_then_is_not_judged(clock: Clock) -> None:
    felt = Felt(lambda _: "", clock)
    felt.action("RaidMatched", 1.0)
    assert felt.samples("") == [] and felt.count("RaidMatched") == 1


def test_blow_when_the_one_before_it_was_late_then_is_measured_from_its_plan(
    me: Honest, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strike(me: Hero, goes_on: Callable[[], bool]) -> Walk[None]:
        while goes_on():
            yield from ask(me, CENTER, ServerListAsk())

    monkeypatch.setattr(flood_honest, "hunt_while", strike)
    walk = attend(me, hunt_by_plan(me, lambda: True), lambda: False)
    step = next(walk)
    for late_s in (0.9, 0.0):
        assert isinstance(step, Send)
        assert isinstance(walk.send(1), Receive)
        clock.now += late_s
        step = walk.send(Answer(1, ServerListOk([])))
    assert [round(took) for _, took in me.felt.samples(HUNT)] == [900, 600]


def test_pause_when_made_on_purpose_then_moves_the_plan(
    me: Honest, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rest(me: Hero, goes_on: Callable[[], bool]) -> Walk[None]:
        assert goes_on() and not goes_on()
        yield Pause(800.0)

    monkeypatch.setattr(flood_honest, "hunt_while", rest)
    walk = attend(me, hunt_by_plan(me, lambda: True), lambda: False)
    assert next(walk) == Pause(800.0)
    clock.now += 0.8
    between = walk.send(None)
    assert isinstance(between, Pause) and round(between.wait_ms) == 300


def test_effect_of_a_blow_is_measured_from_when_the_blow_was_meant(
    me: Honest, clock: Clock
) -> None:
    def fight() -> Walk[None]:
        yield Send(RAID, RaidReady())
        me.due = clock.now - 0.2
        me.take_due()
        yield Send(RAID, RaidAct(0, 1))

    me.blows[1] = 1.0  # of the battle before
    walk = attend(me, fight(), lambda: False)
    next(walk)
    walk.send(1)
    clock.now += 0.1
    me.hear(RaidStruck(1, 5, 9, 9, 200))
    me.hear(RaidStruck(2, 6, 9, 9, 200))
    assert [round(took) for _, took in me.felt.samples(RAID_EFFECT)] == [300]


def test_frame_is_as_old_as_it_comes_later_than_the_earliest_of_its_battle(
    me: Honest, clock: Clock
) -> None:
    for tick, came_s in ((1, 100.06), (2, 100.10), (3, 100.19)):
        clock.now = came_s
        record = bytearray(ROOM.size)
        struct.pack_into("<III", record, 0, tick, 300, 8000 - tick * 50)
        me.hear(RaidStream(bytes(record)))
    found = me.felt.samples(RAID_STREAM)
    assert [round(age) for _, age in found] == [10, 0, 40]
    assert [round(meant, 2) for meant, _ in found] == [100.05, 100.10, 100.15]
    assert me.raids.frames == 3


# -- what is unbearable ---------------------------------------------------------------------------


def feeling(quiet_ms: float, flooded_ms: float, count: int = 10, per_s: float = 5.0) -> Feeling:
    quiet = Side(10, 10.0, quiet_ms, quiet_ms)
    return Feeling(HUNT, quiet, Side(count, per_s, flooded_ms, flooded_ms))


def test_feeling_within_the_limits_is_borne() -> None:
    for one in (feeling(20.0, 39.9), feeling(2.0, 24.9)):
        assert one.faults(LIMITS) == []


@pytest.mark.parametrize(
    "one",
    [
        feeling(20.0, 40.0),
        feeling(2.0, 25.0),
        feeling(20.0, 20.0, per_s=4.9),
        feeling(20.0, 20.0, count=2),
        Feeling(HUNT, Side(2, 5.0, 20.0, 20.0), Side(10, 5.0, 20.0, 20.0)),
    ],
)
def test_feeling_when_slower_rarer_or_of_few_samples_then_is_not_borne(one: Feeling) -> None:
    assert len(one.faults(LIMITS)) == 1
    trial = Trial("flood", lambda _: None)
    judge_feelings(trial, [one], LIMITS)
    assert not trial.verdict().held


def test_nothing_felt_says_nothing() -> None:
    found = feelings([Felt(lambda _: HUNT)], [HUNT, RAID_STREAM], spans(0, 1), spans(1, 2))
    assert [len(one.faults(LIMITS)) for one in found] == [2, 2]


# -- what raiders leave undone --------------------------------------------------------------------


def test_proof_while_held_is_put_off_and_then_sent(me: Honest) -> None:
    def battle() -> Walk[None]:
        yield PROOF
        yield Receive(RAID, 1.0)
        yield Receive(RAID, 2.0)
        yield PROOF

    held = True
    walk = attend(me, battle(), lambda: held)
    assert next(walk) == Receive(RAID, 1.0)
    held = False
    assert (walk.send(None), me.proves, me.proofs) == (PROOF, True, 0)
    assert (walk.send(None), me.proofs) == (Receive(RAID, 2.0), 1)
    assert walk.send(None) == PROOF
    with pytest.raises(StopIteration):
        walk.send(None)
    assert (me.proofs, me.proves) == (2, False)


@pytest.mark.parametrize("ends_by_loss", [False, True])
def test_proof_put_off_when_its_battle_ended_then_is_never_sent(
    me: Honest, ends_by_loss: bool
) -> None:
    def battle() -> Walk[None]:
        yield PROOF
        try:
            yield Receive(RAID, 1.0)
            yield Drop(RAID)
        except Lost:
            pass
        yield Pause(1.0)

    held = True
    walk = attend(me, battle(), lambda: held)
    assert next(walk) == Receive(RAID, 1.0)
    if ends_by_loss:
        step = walk.throw(Lost(RAID))
    else:
        assert walk.send(None) == Drop(RAID)
        held = False
        step = walk.send(None)
    held = False
    assert step == Pause(1.0)
    with pytest.raises(StopIteration):
        walk.send(None)
    assert me.proofs == 0


class Nowhere:
    """An arena without servers."""

    def addresses(self, role: str) -> list[tuple[str, int]]:
        return [("127.0.0.1", 1)]


def test_raider_while_kept_out_leaves_the_queue_and_comes_back_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def at_once(me: Hero) -> Walk[None]:
        yield from ()

    def find(me: Hero, goes_on: Callable[[], bool]) -> Walk[None]:
        while goes_on():
            yield Receive(CENTER, 1.0)

    monkeypatch.setattr(flood_honest, "register", at_once)
    monkeypatch.setattr(flood_honest, "arrive", at_once)
    monkeypatch.setattr(flood_honest, "find_raid", find)
    raiders = HonestRaiders(cast(Arena, Nowhere()), 1, 1)

    async def keep_out() -> None:
        raiders._task = asyncio.get_running_loop().create_future()  # type: ignore[assignment]
        walk = raiders._walk(raiders.heroes[0], 0)
        assert next(walk) == Receive(CENTER, 1.0)
        entering = asyncio.create_task(raiders.kept_out().__aenter__())
        await asyncio.sleep(0)
        assert not entering.done()
        assert isinstance(walk.send(None), Pause)
        await entering
        assert isinstance(walk.send(None), Pause)
        raiders._is_shut = False
        assert walk.send(None) == Receive(CENTER, 1.0)

    asyncio.run(keep_out())


def test_honest_players_mean_all_they_do_by_a_plan_they_catch_up_with() -> None:
    arena = cast(Arena, Nowhere())
    hunters, raiders = HonestHunters(arena, 3, 1), HonestRaiders(arena, 2, 1)
    assert (len(hunters.heroes), len(raiders.heroes)) == (3, 4)
    for me in (*hunters.heroes, *raiders.heroes):
        assert me.policy.catch_up_ms > 0
    assert {me.meter for me in raiders.heroes} == {raiders.felt}


# -- raiders who lend their identity --------------------------------------------------------------


def judged(*departures: Departure) -> Verdict:
    trial = Trial("flood", lambda _: None)
    flood.judge_departures(trial, departures)
    return trial.verdict()


def test_proofs_after_every_flood_are_believed() -> None:
    told = judged(Departure(RAIDERS, 0), Departure(RAIDERS, 0))
    assert told.held and "4 of 4 right after" in told.tried[0]


def test_proof_of_a_raid_that_has_ended_is_excused_and_named() -> None:
    told = judged(Departure(RAIDERS, 0), Departure(0, RAIDERS))
    assert told.held and "floods [2] had ended" in told.tried[0]


def test_proof_of_a_raid_that_runs_is_not_excused() -> None:
    told = judged(Departure(RAIDERS, 0), Departure(RAIDERS - 1, 0))
    assert told.findings == ["1 genuine proofs were not believed after flood 2"]
    assert not judged(Departure(0, RAIDERS)).held
    assert not judged().held


class Heard:
    """A shell whose connection brings a few messages and then nothing, or ends."""

    def __init__(self, me: Hero, messages: list[Any], ends: bool) -> None:
        self.me, self.messages, self.ends = me, messages, ends

    async def walk(self, walk: Walk[Any]) -> None:
        for message in self.messages:
            self.me.hear(message)
        if self.ends:
            raise Lost(RAID)


RAID_NUMBER = 91
ENDED = RaidEnded(RAID_NUMBER, 1, 0, [ScoreRow(0, 7, "ann", 0, False, False)])


@pytest.mark.parametrize(
    ("messages", "ends", "is_over"),
    [
        ([], False, False),
        ([RaidStart(300, 0, 8_000, 50)], False, False),
        ([RaidMatched(92, 1, 0, 31, "127.0.0.1", 1, "token")], False, False),
        ([ENDED], False, True),
        ([], True, True),
    ],
)
def test_raid_is_over_once_its_end_is_told_or_its_connection_is_gone(
    me: Honest, messages: list[Any], ends: bool, is_over: bool
) -> None:
    shell: Any = Heard(me, messages, ends)
    udp: Any = None
    seat = Seat(shell, me, RAID_NUMBER, ("127.0.0.1", 1), udp, (b"", b""))
    assert asyncio.run(seat.is_over()) is is_over


# -- a turn ---------------------------------------------------------------------------------------


class Watched:
    """The raiders and the guests of a course: what happened in which order, and one proof for each
    moment in which proofs may leave."""

    def __init__(self, clock: Clock) -> None:
        self.said: list[str] = []
        self.felt = Felt(lambda _: HUNT, clock)
        self.proofs = 0

    async def all_fight(self) -> None:
        self.said.append("fight")

    async def hold_proofs(self) -> None:
        self.said.append("held")

    def let_prove(self) -> None:
        self.said.append("let")

    @asynccontextmanager
    async def kept_out(self) -> AsyncIterator[None]:
        self.said.append("shut")
        yield
        self.said.append("open")

    async def sit(self) -> None:
        self.said.append("sit")

    async def come(self) -> tuple[list[str], list[str]]:
        self.said.append("come")
        return [], []

    async def go(self) -> Departure:
        self.said.append("go")
        return Departure(RAIDERS, 0)


def test_turn_seats_the_guests_alone_and_lets_nobody_prove_while_they_do(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched: Any = Watched(clock)
    hunters: Any = Namespace(felt=Felt(lambda _: HUNT, clock))
    course = flood.Course(cast(Arena, Nowhere()), hunters, watched, watched)
    felt = watched.felt

    async def counted(*_: object) -> Counted:
        watched.said.append("counted")
        clock.now += 10  # nobody's time
        return Counted(datagrams=5, believed=1)

    async def send(*_: object) -> Sent:
        watched.said.append("flood")
        clock.now += 2
        watched.proofs += watched.said.count("let") % 2
        felt.action("Hit", 500.0)
        clock.now += 1
        return Sent(seconds=3.0)

    async def rest(quiet_s: float) -> None:
        clock.now += quiet_s
        felt.action("Hit", 50.0)

    monkeypatch.setattr(flood, "_counted", counted)
    monkeypatch.setattr(flood, "_settled", counted)
    monkeypatch.setattr(flood, "_send", send)
    monkeypatch.setattr(flood, "asyncio", Namespace(sleep=rest))
    monkeypatch.setattr(flood, "time", Namespace(monotonic=clock))
    for _ in range(2):
        asyncio.run(course.turn(100, 4.0, 20.0))
    seated = ["fight", "held", "shut", "sit", "open", "come", "fight", "counted"]
    first = [*seated, "let", "flood", "held", "counted", "go", "let"]
    second = [*seated, "flood", "held", "counted", "go", "let"]
    assert watched.said == [*first, *second]
    assert (course.turns, course.sent.proofs, course.counted.unearned) == (2, 1, 1)
    hunt = course.feelings()[0]
    assert (hunt.quiet.count, hunt.quiet.per_s, hunt.quiet.p99_ms) == (2, 0.25, 50.0)
    assert (hunt.flooded.count, hunt.flooded.p99_ms) == (2, 500.0)
    assert not course.is_bearable(LIMITS)
