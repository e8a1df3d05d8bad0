"""What an operator changes of an account while its player plays, on a whole cluster.

Owns the questions only; judges by the product's own commands and by the player's own client.
"""

import pytest
from tests.cluster.seen import playing

from mmo.client.aio import Shell
from mmo.client.hero import Hero
from mmo.client.session import arrive, log_in, log_out
from mmo.client.steps import CENTER, GAME
from mmo.proof.arena import Arena
from mmo.wire.messages.account import LoginOk
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import CloseReason, Code

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

ENDED_S = 20.0
ENDS = {CloseReason.SESSION_TAKEN, CloseReason.MOVED, CloseReason.NODE_FENCED}
DAY_S = 86_400


async def is_ended(shell: Shell) -> None:
    """Both of his connections are closed from the other side, and why."""
    for lane in (GAME, CENTER):
        assert await shell.lanes[lane].ended(ENDED_S) in ENDS
    shell.cut_all()


async def finds_all(me: Hero, shell: Shell) -> None:
    """He comes in and has what he had."""
    told = await shell.walk(arrive(me))
    assert me.record.compare(told) == []
    await shell.walk(log_out(me))


async def test_who_is_shut_out_is_gone_at_once_and_finds_all_he_had_when_he_may_come(
    arena: Arena,
) -> None:
    me, shell = await playing(arena, 8301)
    again = Shell("127.240.0.1")
    try:
        shut = await arena.command("account", me.name, "--ban", "1d", "--reason", "sold gold")
        assert shut["banned_until_ms"] and shut["changes"][0]["reason"] == "sold gold"
        assert shut["place_number"] == 0, "nobody owns him any more"
        await is_ended(shell)
        refused = await again.walk(log_in(me, expects=(int(Code.BANNED),)))
        assert isinstance(refused, Refused) and DAY_S - 60 < int(refused.detail) <= DAY_S
        lifted = await arena.command("account", f"id={shut['user']}", "--lift")
        assert [one["what"] for one in lifted["changes"]] == ["lift", "ban"]
        await finds_all(me, again)
    finally:
        shell.cut_all()
        again.cut_all()


async def test_a_new_password_ends_the_session_of_who_knows_the_old_one(arena: Arena) -> None:
    me, shell = await playing(arena, 8302)
    again = Shell("127.240.0.2")
    try:
        new = "correct horse"
        changed = await arena.command("account", me.name, "--password", typed=f"{new}\n")
        assert changed["changes"][0]["what"] == "password" and new not in str(changed)
        await is_ended(shell)
        old = await again.walk(log_in(me, expects=(int(Code.CREDENTIALS_WRONG),)))
        assert isinstance(old, Refused)
        me.password = new
        assert isinstance(await again.walk(log_in(me)), LoginOk)
        await finds_all(me, again)
    finally:
        shell.cut_all()
        again.cut_all()
