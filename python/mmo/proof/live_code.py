"""A game's folder that is saved while players play, and clients who ask which code answers.

Owns the folder (made by `mmo-cluster new game`), the `mmo-cluster dev` beside the cluster, and the
probers with the times of their questions. Judges nothing. Used by the proofs and benches of
reloads.
"""

import asyncio
import importlib.util
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

import mmo
from mmo.client.hero import Hero
from mmo.client.hunting import hold_on, settle
from mmo.client.journeys import Journey
from mmo.client.session import arrive, ask, keep_known, log_out, register
from mmo.client.steps import CENTER, GAME, Pause, Walk
from mmo.errors import OperatorError
from mmo.proof.arena import Arena
from mmo.proof.load import Crew
from mmo.wire import codec

ROLL_DICE = 10_000
ANSWER_S = 60.0
CROWD_S = 900.0
"""Hundreds of players log in one password hash after the other."""
RATES = "[rate.action]\nper_s = 1000.0\nburst = 2000\n"
"""Probers ask more often than a player may."""

ROOM_RULES = '''"""Which generation answers in the room of a raid, its word, and the raid."""

from game.messages.dice import ROLL_DICE, DiceRolled, RollDice
from game.systems.dice import WORD

from mmo.contract import Env, Outcome, Refuse, handles
from mmo.state.raid_room import RaidRooms
from mmo.wire.opcode import Code


@handles(ROLL_DICE, needs=("raids",))
def roll_in_room(message: RollDice, *, raids: RaidRooms, env: Env) -> Outcome | Refuse:
    """Generation, word and raid."""
    found = raids.room_of(env.sender.user)
    if found is None:
        return Refuse(Code.NOT_IN_RAID)
    return Outcome(replies=(DiceRolled((env.node.generation, WORD, found[0].raid)),))
'''

SEATS = {"channels": 30, "channel_users_max": 10, "server_users_max": 300}
"""Each of two channel servers holds so many; as many in a channel as in the box."""

RULES = '''"""Which generation answers, and the word of the last save."""

from game.messages.dice import ROLL_DICE, DiceRolled, RollDice

from mmo.contract import Env, Outcome, Refuse, handles

WORD = {word}


@handles(ROLL_DICE)
def roll_dice(message: RollDice, *, env: Env) -> Outcome | Refuse:
    """Generation and word."""
    return Outcome(replies=(DiceRolled((env.node.generation, WORD)),))
'''


def prepare(directory: Path) -> str:
    """Make a game; the configuration that lays it over the box."""
    folder = directory / "mine"
    line = [sys.executable, "-m", "mmo.cli", "new", "game", str(folder)]
    subprocess.run(line, check=True, capture_output=True, timeout=60)
    game = folder / "game"
    texts = {
        "systems/dice.py": RULES.format(word=0),
        "systems/room_dice.py": ROOM_RULES,
        "content/channels.toml": _with_seats(),
    }
    for path, text in texts.items():
        (game / path).write_text(text, encoding="utf-8")
    with (game / "roles.toml").open("a", encoding="utf-8") as file:
        file.write('raid = ["room_dice"]\n')
    return f'[game]\npath = "{game}"\n{RATES}'


def _with_seats() -> str:
    """The box's channels with seats for hundreds."""
    box = Path(str(mmo.__file__)).parent / "content" / "data" / "channels.toml"
    text = box.read_text(encoding="utf-8")
    for name, count in SEATS.items():
        text = re.sub(rf"^{name} = \d+", f"{name} = {count}", text, flags=re.MULTILINE)
    return text


def topology(
    nodes: Sequence[tuple[str, str, int]], offsets_ms: Mapping[str, int] | None = None
) -> str:
    """The configuration of exactly these nodes: name, role, number. `offsets_ms`: by how much the
    clocks of some are wrong."""
    return "".join(
        f'[[nodes]]\nname = "{name}"\nrole = "{role}"\nnumber = {number}\n'
        + (
            f"override.node.clock_offset_ms = {offsets_ms[name]}\n"
            if offsets_ms and name in offsets_ms
            else ""
        )
        for name, role, number in nodes
    )


async def game_of(arena: Arena) -> Path:
    """The folder of the arena's game. Raises `OperatorError` where there is none."""
    told = await arena.command("config")
    path = str(told["game.path"])
    if not path:
        raise OperatorError("E0422", "this proof needs a cluster with a game", "prove without it")
    return Path(path)


def speak_dice(game: Path) -> Any:
    """The class of the question; the game's messages are declared in this process once."""
    if codec.class_of(ROLL_DICE) is None:
        file = game / "messages" / "dice.py"
        spec = importlib.util.spec_from_file_location("mmo_proof_dice", file)
        assert spec is not None and spec.loader is not None, file
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return codec.class_of(ROLL_DICE)


AGAIN = ("E0415", "E0418", "E0419", "E0426")
"""Refusals after which the same save is made again: a node or the store was away."""
AGAIN_S = 45.0


class Dev:
    """`mmo-cluster dev --json` on a running cluster: saves files and hears what became of it."""

    def __init__(self, arena: Arena, game: Path) -> None:
        self._arena = arena
        self._game = game
        self._process: asyncio.subprocess.Process | None = None
        self.again: dict[str, int] = {}

    async def __aenter__(self) -> "Dev":
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mmo.cli", "dev", "--json"),
            *("--home", str(self._arena.home.directory)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await self._line()  # the status of the cluster
        await self._line()  # what lay on the disk
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()

    async def save(self, path: str, text: str) -> dict[str, Any]:
        """Save one file of the game as an editor does; what `dev` printed of the change, with
        `saved_s` (monotonic seconds) of the save. `error` stands in it where it was refused. Raises
        `TimeoutError`."""
        saved_s = time.monotonic()
        self._write(path, text)
        async with asyncio.timeout(ANSWER_S):
            while True:
                said = await self._line()
                if "error" in said or said["changed"]:  # else: one save was noticed twice
                    return {**said, "saved_s": saved_s}

    async def insist(self, path: str, text: str) -> dict[str, Any]:
        """As `save`, and the same again while it is refused because a node or the store was away;
        those refusals are counted in `again`. Raises `TimeoutError`."""
        until_s = time.monotonic() + AGAIN_S
        said = await self.save(path, text)
        while (code := said.get("error", {}).get("code")) in AGAIN and time.monotonic() < until_s:
            self.again[code] = self.again.get(code, 0) + 1
            await asyncio.sleep(0.2)
            said = await self.save(path, f"{text}# again {sum(self.again.values())}\n")
        return said

    async def undo(self, path: str, text: str | None) -> None:
        """After a refused save, save the file as it was; None: it was not there. Raises
        `TimeoutError`."""
        if text is None:
            (self._game / path).unlink()
        else:
            self._write(path, text)
        async with asyncio.timeout(ANSWER_S):
            while "error" in await self._line():
                pass  # the refused save was noticed twice

    def _write(self, path: str, text: str) -> None:
        target = self._game / path
        beside = target.with_name(f".{target.name}.new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(target)

    async def _line(self) -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise OperatorError("E0790", f"dev ended with {await self._process.wait()}")
        said: dict[str, Any] = json.loads(line)
        return said


class Seen(msgspec.Struct, frozen=True):
    """One answer of the dice rule; times are monotonic seconds."""

    sent_s: float
    heard_s: float
    generation: int
    word: int
    raid: int = 0  # in whose room it was asked


def backwards(seen: Sequence[Seen]) -> list[str]:
    """Answers by an older generation to a question that was sent after a newer one had answered
    anybody: two generations accepted input at once."""
    first_heard: dict[int, float] = {}
    for one in seen:
        known = first_heard.get(one.generation, one.heard_s)
        first_heard[one.generation] = min(known, one.heard_s)
    earliest, newer_s = {}, float("inf")
    for generation in sorted(first_heard, reverse=True):
        earliest[generation] = newer_s
        newer_s = min(newer_s, first_heard[generation])
    return [
        f"generation {one.generation} answered what was sent "
        f"{(one.sent_s - earliest[one.generation]) * 1_000:.1f} ms after a newer one answered"
        for one in seen
        if one.sent_s > earliest[one.generation]
    ]


class Probers(Crew):
    """Players who ask without a pause which code answers: half at the centers, half at channels."""

    def __init__(self, arena: Arena, game: Path, count: int, seed: int, pause_ms: float) -> None:
        super().__init__(arena, count, seed)
        self._question = speak_dice(game)
        self._pause_ms = pause_ms
        self.seen: list[Seen] = []
        self._here = 0

    async def begin(self) -> None:
        """Start all; returns when everyone had an answer. Raises `TimeoutError`."""
        journeys = [
            Journey("at a center", "ask", lambda me, _: self._walk(me, CENTER), lambda _: 1),
            Journey("at a channel", "ask", lambda me, _: self._walk(me, GAME), lambda _: 1),
        ]
        self._set_out(journeys)
        await self.until(lambda: self._here == len(self.heroes), "an answer each", ANSWER_S)

    async def word(self, word: int, within_s: float = 10) -> Seen | None:
        """The first answer that says `word`, waited for."""
        until_s = time.monotonic() + within_s
        at = max(0, len(self.seen) - 2_000)
        while time.monotonic() < until_s:
            for index in range(at, len(self.seen)):
                if self.seen[index].word == word:
                    return self.seen[index]
            at = len(self.seen)
            await asyncio.sleep(0.002)
        return None

    def backwards(self) -> list[str]:
        """See `backwards`."""
        return backwards(self.seen)

    def _walk(self, me: Hero, lane: str) -> Walk[None]:
        yield from register(me)
        yield from arrive(me)
        if lane == GAME:
            yield from settle(me)
        at_center = lane == CENTER
        first = True
        while self.goes_on():
            yield from hold_on(me, lambda: self._ask(me, lane), to_lobby=at_center)
            self._here += first
            first = False
            yield from hold_on(me, lambda: keep_known(me), to_lobby=at_center)
            yield Pause(self._pause_ms * (0.5 + me.rng.random()))
        yield from log_out(me)

    def _ask(self, me: Hero, lane: str) -> Walk[None]:
        sent_s = time.monotonic()
        rolled = yield from ask(me, lane, self._question(1))
        generation, word = rolled.eyes
        self.seen.append(Seen(sent_s, time.monotonic(), generation, word))
