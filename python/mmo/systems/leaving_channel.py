"""A channel server that drains: its players go on at another one, with a token in their hand.

Owns what is asked of a center and what the player is told. He is served here until he shows the
token there, so he waits for nothing; whoever finds no seat comes back through a center.
"""

from mmo.contract import Env, Outcome, SendAway, ToAny, handles
from mmo.state.channel_world import ChannelWorld
from mmo.state.player import Head
from mmo.wire.messages.link import SeatFound, SeatSeek
from mmo.wire.messages.presence import NodeLeaving, ServerLeaving
from mmo.wire.opcode import Op


@handles(Op.NODE_LEAVING, by="node", needs=("head", "world"))
def leave(message: NodeLeaving, *, head: Head, world: ChannelWorld, env: Env) -> Outcome:
    """Ask a center, any, for a seat elsewhere: it need not hold his session to prepare a move."""
    seat = world.seats.get(head.user)
    if seat is None or not seat.conn:
        return Outcome()
    return Outcome(sends=(ToAny("center", SeatSeek(head.user, seat.session_epoch, head.name)),))


@handles(Op.SEAT_FOUND, by="peer", peers=("center",), needs=("world",), lane="user")
def seat_found(message: SeatFound, *, world: ChannelWorld, env: Env) -> Outcome:
    """Tell him where to go. Another session than the one that was asked for stays as it is."""
    seat = world.seats.get(message.user)
    if seat is None or seat.session_epoch != message.session_epoch:
        return Outcome()
    there = ServerLeaving(message.number, message.host, message.port, message.token)
    return Outcome(sends=(SendAway(message.user, there),))
