"""How the volatile states of the roles begin: empty, in the form that content asks for.

Named by roles as factories; called once by the node at start.
"""

from mmo.content import Content
from mmo.contract import NodeView
from mmo.state.attempts import Attempts
from mmo.state.center_tickets import CenterTickets
from mmo.state.channel_world import ChannelWorld
from mmo.state.match_tickets import MatchTickets
from mmo.state.raid_room import RaidRooms
from mmo.state.roll_days import RollDays
from mmo.state.servers import Servers
from mmo.state.sessions import Sessions


def world(content: Content, node: NodeView) -> ChannelWorld:
    """The channels of one server with all monsters alive."""
    monsters = [(kind, content.monsters[kind].hp) for kind in content.channel_monsters]
    return ChannelWorld([monsters for _ in range(content.channels.channels)])


def placed(content: Content) -> tuple[int, tuple[int, ...]]:
    """What of a world stands as long as its server runs: channels, and what lives where."""
    return content.channels.channels, content.channel_monsters


def sessions(content: Content, node: NodeView) -> Sessions:
    """No session yet."""
    return Sessions()


def servers(content: Content, node: NodeView) -> Servers:
    """No server heard of yet."""
    return Servers()


def attempts(content: Content, node: NodeView) -> Attempts:
    """No failure yet."""
    return Attempts()


def roll_days(content: Content, node: NodeView) -> RollDays:
    """Nothing read yet."""
    return RollDays()


def raids(content: Content, node: NodeView) -> RaidRooms:
    """No raid yet."""
    return RaidRooms()


def tickets(content: Content, node: NodeView) -> CenterTickets:
    """Nobody waits for a raid yet."""
    return CenterTickets()


def matching(content: Content, node: NodeView) -> MatchTickets:
    """Nobody waits, no server heard of yet."""
    return MatchTickets()
