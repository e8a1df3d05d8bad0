"""Channels inside a channel server: list, enter, change, leave."""

from mmo.content import Content
from mmo.contract import Env, Outcome, Refuse, handles
from mmo.state.channel_world import Channel, ChannelEntered, ChannelLeft, ChannelWorld
from mmo.state.player import Head
from mmo.wire.messages.hunt import (
    ChannelEnter,
    ChannelEnterOk,
    ChannelLeave,
    ChannelLeaveOk,
    ChannelListAsk,
    ChannelListOk,
    ChannelRow,
    MonsterRow,
    MonstersAsk,
    MonstersOk,
)
from mmo.wire.opcode import Code, Op


def monster_rows(channel: Channel, content: Content, now_ms: int) -> list[MonsterRow]:
    """The monsters of a channel as they are now; one whose time has come is back, whole."""
    rows = []
    for number, monster in enumerate(channel.monsters, start=1):
        hp_max = content.monsters[monster.kind].hp
        if monster.back_ms > now_ms:
            rows.append(MonsterRow(number, monster.kind, 0, hp_max, monster.back_ms - now_ms))
        else:
            hp = hp_max if monster.back_ms else monster.hp
            rows.append(MonsterRow(number, monster.kind, hp, hp_max, 0))
    return rows


@handles(Op.CHANNEL_LIST, needs=("head", "world"), rate="list")
def list_channels(message: ChannelListAsk, *, head: Head, world: ChannelWorld, env: Env) -> Outcome:
    """User counts of all channels. Looking leaves the current channel, as in the reference game."""
    content: Content = env.content
    user = head.user
    rows = [
        ChannelRow(number, len(channel.users - {user}), content.channels.channel_users_max)
        for number, channel in enumerate(world.channels, start=1)
    ]
    return Outcome(replies=(ChannelListOk(rows),), effects=(ChannelLeft(user),))


@handles(Op.CHANNEL_ENTER, needs=("head", "world"))
def enter_channel(
    message: ChannelEnter, *, head: Head, world: ChannelWorld, env: Env
) -> Outcome | Refuse:
    """Enter a channel, leaving the one before in the same step; a full one changes nothing."""
    content: Content = env.content
    user = head.user
    channel = world.channel(message.number)
    if channel is None:
        return Refuse(Code.CHANNEL_UNKNOWN)
    if world.where.get(user) == message.number:
        return Refuse(Code.ALREADY_IN_CHANNEL)
    if len(channel.users) >= content.channels.channel_users_max:
        return Refuse(Code.CHANNEL_FULL)
    return Outcome(
        replies=(
            ChannelEnterOk(
                message.number,
                len(channel.users) + 1,
                monster_rows(channel, content, env.now_ms),
            ),
        ),
        effects=(ChannelEntered(user, message.number),),
    )


@handles(Op.CHANNEL_LEAVE, needs=("head", "world"))
def leave_channel(
    message: ChannelLeave, *, head: Head, world: ChannelWorld, env: Env
) -> Outcome | Refuse:
    """Leave the channel, stay on the server."""
    if head.user not in world.where:
        return Refuse(Code.NOT_IN_CHANNEL)
    return Outcome(replies=(ChannelLeaveOk(),), effects=(ChannelLeft(head.user),))


@handles(Op.MONSTERS, needs=("head", "world"), rate="list")
def list_monsters(
    message: MonstersAsk, *, head: Head, world: ChannelWorld, env: Env
) -> Outcome | Refuse:
    """The monsters of the current channel."""
    channel = world.channel(world.where.get(head.user, 0))
    if channel is None:
        return Refuse(Code.NOT_IN_CHANNEL)
    return Outcome(replies=(MonstersOk(monster_rows(channel, env.content, env.now_ms)),))
