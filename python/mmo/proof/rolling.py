"""The proof that every process can be replaced while people play: nobody logs in again, nobody gets
a wrong answer, nothing is lost.

Owns the players, who walk every journey until told to stop, and the rolling restarts. Judges by the
bots' own records, by what the restarts said, and by the books.
"""

from collections.abc import Callable

from mmo.client.hero import Hero
from mmo.client.hunting import settle
from mmo.client.journeys import JOURNEYS, Journey, hunt_until_over, wander_until_over
from mmo.client.raider import raid_until_over
from mmo.client.session import arrive, register
from mmo.client.shopper import shop_until_over
from mmo.client.steps import Walk
from mmo.proof.arena import Arena
from mmo.proof.load import Crew, books_balance, nobody_is_left
from mmo.proof.percentiles import percentile
from mmo.proof.verdict import Trial

RESTART_S = 600.0
CHANNEL_SERVERS = 8  # of thirty seats: all players fit into those that are not being replaced
BEGUN_S = 300.0
ACTIONS_BETWEEN = 20  # a player, before the first restart and after each
AGAIN_MAX = 2
"""More restarts where nobody was moved: a node that stands for half a second does not wait longer
for who is on his way, and he comes back by his session token."""


async def rolling(arena: Arena, trial: Trial, short: bool) -> None:
    """Rolling restarts under every journey: 0 errors, nobody logs in again, the books balance."""
    restarts, count = (1, 10) if short else (5, 200)
    if not short:
        said = await arena.command("scale", f"channel={CHANNEL_SERVERS}", deadline_s=RESTART_S)
        trial.tried(f"{len(said['added'])} channel servers were added live: {CHANNEL_SERVERS} now")
    crowd = Crowd(arena, count, seed=61)
    try:
        await crowd.begin()
        done = 0
        while done < restarts or (not crowd.moved and done < restarts + AGAIN_MAX):
            done += 1
            await _restart_all(arena, trial, done)
            await crowd.plays_on()
        fleet = await crowd.end()
    finally:
        await crowd.abandon()
    meter = fleet.meter
    for text in meter.findings:
        trial.found(f"bot {text}")
    trial.expect(not meter.errors, f"{meter.errors} errors of bots")
    trial.expect(not meter.logins_forced, f"{meter.logins_forced} players had to log in again")
    moved = crowd.moved
    trial.expect(moved > 0, "nobody was moved, so nothing was shown")
    trial.tried(
        f"{count} players: {meter.actions} actions, {moved} times sent to another server with a "
        f"token, {meter.lost - moved} connections ended otherwise, {meter.retries} requests sent "
        "again"
    )
    trial.figure("restarts", done)
    trial.figure("players", count)
    trial.figure("actions", meter.actions)
    trial.figure("moved", moved)
    trial.figure("connections_lost", meter.losses)
    trial.figure("p50_ms", fleet.summary.p50_ms)
    trial.figure("p99_ms", fleet.summary.p99_ms)
    if meter.pauses_ms:
        trial.figure("pause_p99_ms", round(percentile(meter.pauses_ms, 0.99), 1))
        trial.figure("pause_max_ms", round(max(meter.pauses_ms), 1))
    await books_balance(arena, trial, count)
    await nobody_is_left(arena, trial)


async def _restart_all(arena: Arena, trial: Trial, turn: int) -> None:
    """One `restart --rolling`: every process is another one, and each ended in order."""
    before = {row["name"]: row["pid"] for row in (await arena.status())["nodes"]}
    said = await arena.command("restart", "--rolling", deadline_s=RESTART_S, accept=(0, 4))
    after = {row["name"]: row["pid"] for row in (await arena.status())["nodes"]}
    kept = [name for name, pid in after.items() if pid == before.get(name)]
    trial.expect(not kept, f"not replaced: {kept}")
    trial.expect(set(after) == set(before), f"the nodes are others: {sorted(after)}")
    killed = [one["name"] for one in said["nodes"] if one["killed"]]
    trial.expect(not killed, f"did not end in order: {killed}")
    slowest = max(said["nodes"], key=lambda one: float(one["seconds"]))
    trial.tried(
        f"restart {turn}: {len(after)} processes replaced in {said['seconds']:.1f} s, the slowest "
        f"{slowest['name']} in {slowest['seconds']:.1f} s"
    )


class Crowd(Crew):
    """Bots that walk all journeys in equal shares; tours walk once."""

    def __init__(self, arena: Arena, count: int, seed: int) -> None:
        super().__init__(arena, count, seed, policy=None)

    async def begin(self) -> None:
        """Start all; return when they have played for a while."""
        walks = {
            "hunter": self._walk(_hunt),
            "wanderer": self._walk(wander_until_over),
            "shopper": self._walk(shop_until_over),
            "raider": self._walk(raid_until_over),
        }
        journeys = [
            Journey(name, one.about, walks.get(name, one.walk), lambda _: 20)
            for name, one in JOURNEYS.items()
        ]
        self._set_out(journeys, name="all")
        await self.plays_on()

    def _walk(
        self, walk: Callable[[Hero, Callable[[], bool]], Walk[None]]
    ) -> Callable[[Hero, float], Walk[None]]:
        def whole(me: Hero, _: float) -> Walk[None]:
            yield from register(me)
            yield from arrive(me)
            yield from walk(me, self.goes_on)

        return whole

    @property
    def moved(self) -> int:
        """How often one of them was sent to another server by the one that left."""
        losses = self.meter.losses.items()
        return sum(times for text, times in losses if text.endswith("the server leaves"))

    async def plays_on(self) -> None:
        """Return when so many more actions were answered. Raises `TimeoutError`."""
        target = self.meter.actions + ACTIONS_BETWEEN * len(self.heroes)
        await self.until(lambda: self.meter.actions >= target, "playing on", BEGUN_S)


def _hunt(me: Hero, goes_on: Callable[[], bool]) -> Walk[None]:
    yield from settle(me)
    yield from hunt_until_over(me, goes_on)
