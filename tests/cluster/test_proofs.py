"""The short form of every proof, on one cluster that lives through all of them, and bots beside it.

Owns that cluster. A finding of a proof is a failure here, word for word.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loadtest.profiles import profile_named
from loadtest.run import Run
from tests.cluster.seen import until

from mmo.client.aio import Shell
from mmo.client.fleet import muster, source_of
from mmo.client.hero import Hero
from mmo.client.hunting import choose_channel, hunt_while, settle
from mmo.client.meter import Meter
from mmo.client.session import arrive, log_out, register
from mmo.client.steps import Walk
from mmo.errors import OperatorError
from mmo.proof.arena import Arena
from mmo.proof.economy_books import connected
from mmo.proof.proofs import OVERLAY, QUICK_LIMITS, proofs, prove

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SUMMARY = ["journey", "players", "actions", "errors", "refusals", "p50_ms", "p99_ms", "p999_ms"]
CHAOS = [
    *("seed", "faults", "operations", "acknowledged", "lost", "duplicated", "stale"),
    *("recovery_p50_ms", "recovery_p99_ms", "findings"),
]
QUICK = QUICK_LIMITS + OVERLAY.replace("[node]", "[node]\nresume_grace_ms = 3000")


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    """A cluster of its own, started and stopped by the product's own command."""
    made = Arena(None, QUICK)
    asyncio.run(made.__aenter__())
    try:
        yield made
    finally:
        asyncio.run(made.__aexit__())


SHORT = [name for name, proof in proofs().items() if proof.in_tests]
"""Every second one may run in another process, on a cluster of its own."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, id=f"{name}@proofs{place % 2}") for place, name in enumerate(SHORT)],
)
def test_the_proof_holds_in_its_short_form(arena: Arena, name: str) -> None:
    said: list[str] = []
    verdict = asyncio.run(
        prove(proofs()[name], home=arena.home.directory, short=True, say=said.append)
    )
    assert verdict.held, "\n".join([*verdict.findings, "", *said])
    assert verdict.tried
    assert json.loads(json.dumps(verdict.figures))["checks"] > 0


def bot(arena: Arena, *words: str, accept: tuple[int, ...] = (0,)) -> Any:
    return asyncio.run(arena.command("bot", *words, deadline_s=100, accept=accept))


def test_twenty_bots_walk_the_tour_and_tell_the_promised_fields(arena: Arena) -> None:
    told = bot(arena, "--journey", "tour", "--count", "20", "--seed", "7")
    assert list(told) == SUMMARY
    assert (told["journey"], told["players"], told["errors"]) == ("tour", 20, 0)
    assert told["actions"] >= 20 * 30
    assert 0 < told["p50_ms"] <= told["p99_ms"] <= told["p999_ms"]


def test_hunters_hunt_for_the_given_time(arena: Arena) -> None:
    began = time.monotonic()
    told = bot(arena, "--journey", "hunter", "--count", "4", "--for", "3s")
    assert time.monotonic() - began >= 3
    assert (told["players"], told["errors"]) == (4, 0)


def test_all_journeys_walk_side_by_side(arena: Arena) -> None:
    told = bot(arena, "--journey", "all", "--count", "4", "--for", "2s")
    assert (told["journey"], told["players"], told["errors"]) == ("all", 4, 0)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("bot", "--journey", "dance"), 2),
        (("bot", "--count", "0"), 2),
        (("prove", "nothing"), 2),
        (("chaos", "--faults", "nothing"), 2),
        (("call", "HIT", '{"monster": 1, "damage": 99}', "--as", "ann"), 2),
        (("call", "HIT", "{}", "--as", "ann"), 2),
    ],
)
def test_a_wrong_word_is_a_usage_error(arena: Arena, words: tuple[str, ...], code: int) -> None:
    async def run() -> None:
        with pytest.raises(OperatorError, match=f"ended with {code}"):
            await arena.command(*words)

    asyncio.run(run())


def test_call_sends_any_message_and_prints_the_reply(arena: Arena) -> None:

    async def listed() -> bool:
        """A center that a proof killed hears of the servers a moment after it is ready."""
        told = await arena.command("call", "SERVER_LIST", "{}", "--as", "caller")
        return [row["number"] for row in told["servers"]] == [11, 12]

    assert asyncio.run(until(listed))
    refused = asyncio.run(
        arena.command("call", "MOVE", '{"number": 99}', "--as", "caller", accept=(1,))
    )
    assert refused["message"] == "Refused"


def test_chaos_tells_the_promised_fields_and_finds_nothing(arena: Arena) -> None:
    words = ("--for", "2s", "--every", "1s", "--bots", "2", "--raiders", "0")
    faults = ("--faults", "kill-login,flush-redis")
    told = asyncio.run(arena.command("chaos", *words, *faults, deadline_s=120))
    assert [*told][: len(CHAOS)] == CHAOS
    assert (told["findings"], told["lost"], told["duplicated"], told["stale"]) == ([], 0, 0, 0)
    assert told["faults"] >= 1 and told["acknowledged"] > 0


def test_play_obeys_typed_words(arena: Arena) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mmo.cli", "play", "--as", "모험가"),
            *("--home", str(arena.home.directory)),
        ],
        input="servers\nmove 12\nhunt 1\nbag\nlobby\nout\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for said in ("registered 모험가", "12: channel-2", "in server 12", "1 killed", "logged out"):
        assert said in done.stdout, done.stdout


def test_a_load_test_holds_its_gates_and_tells_them_on_one_page(
    arena: Arena, tmp_path: Path
) -> None:
    """The shortest profile, every class of users; the generator is locust in a process of its
    own."""
    outcome = asyncio.run(Run(profile_named("smoke"), arena.home.directory).go(tmp_path))
    rows = "\n".join(" ".join(gate.row()) for gate in outcome.gates)
    assert outcome.held, "\n".join([rows, *outcome.findings])
    told = json.loads((tmp_path / "load-smoke.json").read_text(encoding="utf-8"))
    assert told["held"] and told["figures"]["errors"] == 0
    assert told["figures"]["pushes"]["RaidStream"]["count"] > 50
    names = {gate["name"] for gate in told["gates"]}
    assert names >= {"connections lost", "raids aborted", "processes ended", "Raider turns"}
    page = (tmp_path / "load-smoke.html").read_text(encoding="utf-8")
    assert "ghost sessions" in page and page.count("<polyline") > 20


def damaged(arena: Arena, statement: str, user: int) -> None:
    """Change one player behind the cluster's back."""
    connection = connected(arena)
    cursor = connection.cursor()
    cursor.execute(statement, (user,))
    assert cursor.rowcount == 1
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        (
            "UPDATE player_head SET gold = gold - 1, version = version + 1 WHERE user_id = %s",
            "gold",
        ),
        (
            "UPDATE player_head SET exp = 0, level = 1, version = version + 1 WHERE user_id = %s",
            "level and exp",
        ),
    ],
)
def test_a_bot_notices_what_was_taken_behind_its_back(
    arena: Arena, statement: str, finding: str
) -> None:
    """And the audit does too, so a proof over such a cluster cannot hold. Mended afterwards."""
    meter = Meter()
    (me,) = muster(arena.addresses("login"), 1, 9, meter)
    level, exp, gold = asyncio.run(
        _hunts_and_returns(me, lambda: damaged(arena, statement, me.user))
    )
    assert any(finding in text for text in meter.findings), meter.findings
    told = asyncio.run(arena.command("audit", accept=(1,)))
    assert not told["balanced"]
    mend = (
        f"UPDATE player_head SET gold = {gold}, level = {level}, exp = {exp}, "
        "version = version - 1 WHERE user_id = %s"
    )
    damaged(arena, mend, me.user)


async def _hunts_and_returns(me: Hero, between: Callable[[], None]) -> tuple[int, int, int]:
    """Hunt, log out, let something happen, come again. Returns what was owned before it."""
    shell = Shell(source_of(77))

    def hunt() -> Walk[None]:
        yield from register(me)
        yield from arrive(me)
        yield from settle(me)
        yield from choose_channel(me)
        yield from hunt_while(me, lambda: me.record.kills < 2)
        yield from log_out(me)

    def again() -> Walk[None]:
        yield from arrive(me)
        yield from log_out(me)

    try:
        await shell.walk(hunt())
        owned = (me.record.level, me.record.exp, me.record.gold)
        await asyncio.to_thread(between)
        await shell.walk(again())
        return owned
    finally:
        shell.cut_all()
