"""Centers, a matching server and raid servers that talk over links which may be slow or cut.

The rules of centers and of matching are the real ones, called as a node calls them: one lane a
player, requests with answers and deadlines, rows before effects. A raid server here is only its
books: which raids are unsettled and who is in them. Messages stay on their link until delivered.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace
from tests.systems.game import Game, done

from mmo.contract import Outcome, Refuse, ToNode, ToRole, ToUser
from mmo.state.raid import RaidSeatPrepared
from mmo.state.sessions import SessionLost
from mmo.systems import (
    matching,
    matching_rooms,
    raid_entry,
    raid_tickets,
    raid_tokens,
    session_notices,
)
from mmo.wire.messages.link import ServerLoad
from mmo.wire.messages.raid_link import RaidOver, RaidReserve, RaidReserved
from mmo.wire.messages.raid_queue import (
    RaidCancel,
    RaidExplain,
    RaidQueueCarded,
    RaidQueueLeft,
)
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import Op

CENTERS = (2, 3)
MATCHING = 21
RAIDS = (31, 32)
STEP_MS = 50
ROLES = {**dict.fromkeys(CENTERS, "center"), MATCHING: "matching", **dict.fromkeys(RAIDS, "raid")}

MATCHING_RULES: dict[int, Any] = {
    Op.TICKET_PUT: (matching.put, ("matching",)),
    Op.TICKET_CANCEL: (matching.cancel, ("matching",)),
    Op.TICKETS_ALL: (matching.listed, ("matching",)),
    Op.TICKET_EXPLAIN: (matching.explain, ("matching",)),
    Op.SERVER_LOAD: (matching_rooms.server_load, ("matching",)),
    Op.RAID_RESERVED: (matching_rooms.reserved, ("matching",)),
    Op.RAID_OVER: (matching_rooms.raid_over, ("matching",)),
}
CENTER_RULES: dict[int, Any] = {
    Op.SERVER_LOAD: (session_notices.server_load, ("servers",)),
    Op.TICKETS_HELD: (raid_tickets.compare, ("servers", "tickets")),
    Op.RAID_TEAM_FOUND: (raid_tokens.team_found, ("sessions", "servers", "tickets")),
    Op.RAID_TEAM_FAILED: (raid_tokens.team_failed, ("sessions", "tickets")),
    Op.RAID_OVER: (raid_tokens.raid_over, ("sessions",)),
}
OWN_RULES: dict[int, Any] = {
    Op.RAID_QUEUE_CARDED: (raid_entry.queue, ("sessions", "servers", "tickets")),
    Op.RAID_CANCEL: (raid_entry.cancel, ("sessions", "servers", "tickets")),
    Op.RAID_EXPLAIN: (raid_entry.explain, ("servers", "tickets")),
    Op.TICKET_PUT_OK: (raid_entry.queued, ("sessions", "tickets")),
    Op.TICKET_CANCELLED: (raid_entry.cancelled, ("sessions", "tickets")),
    Op.TICKET_EXPLAINED: (raid_entry.explained, ()),
    Op.RAID_QUEUE_LEFT: (raid_tickets.left, ("sessions", "servers", "tickets")),
    Op.RAID_FREED: (raid_tokens.freed, ("sessions", "tickets")),
}
LANE = (Op.RAID_TEAM_FOUND, Op.RAID_TEAM_FAILED)
TICKS: dict[str, tuple[tuple[int, Callable[..., Outcome], str], ...]] = {
    "matching": (
        (50, matching.match, "matching"),
        (250, matching_rooms.watch, "matching"),
        (1000, matching_rooms.tell_held, "matching"),
    ),
    "center": (
        (100, raid_tickets.tell_all, "tickets"),
        (250, session_notices.tell_load, "sessions"),
    ),
}


class Asked:
    """A request on its way: its lane is closed."""

    def __init__(self, center: int, user: int, refusal: int, until_ms: int) -> None:
        self.center, self.user, self.refusal, self.until_ms = center, user, refusal, until_ms
        self.waiting: list[tuple[int, Any]] = []  # what came into the lane meanwhile


class MatchGame:
    """The servers. `told` is what each player was told, in order; `asked_for` every question for
    seats; `refused_books` how often the books refused a team."""

    def __init__(self, rooms: int = 100) -> None:
        self.rooms = rooms
        self.now_ms = 1_700_000_000_000
        self.games = {
            number: Game(role, number) for number, role in ROLES.items() if role != "raid"
        }
        self.links: dict[tuple[int, int], deque[Any]] = {}
        self.cut: set[int] = set()  # servers without links
        self.requests: dict[int, Asked] = {}
        self.request = 0
        self.told: dict[int, list[Any]] = {}
        self.raids: dict[int, RaidReserve] = {}  # unsettled, by raid
        self.runs_at: dict[int, int] = {}  # raid -> server
        self.where: dict[int, int] = {}  # user -> unsettled raid
        self.mute: set[int] = set()  # raid servers that do not answer
        self.asked_for: list[RaidReserve] = []
        self.refused_books = 0
        self.advance(500)

    # the network ------------------------------------------------------------------------------

    def send(self, source: int, target: int, message: Any) -> None:
        """Put a message on a link; lost when there is none."""
        if source not in self.cut and target not in self.cut:
            self.links.setdefault((source, target), deque()).append(message)

    def deliver(self, source: int, target: int) -> None:
        """The next message of one link arrives."""
        link = self.links.get((source, target))
        if link:
            self._arrive(source, target, link.popleft())

    def settle(self) -> None:
        """Deliver until nothing is on its way."""
        for _ in range(10_000):
            full = [ends for ends, link in self.links.items() if link]
            if not full:
                return
            for ends in full:
                self.deliver(*ends)
        raise AssertionError("the servers never stop talking")

    def cut_off(self, number: int) -> None:
        """A server loses its links with all that is on them."""
        self.cut.add(number)
        for ends, link in self.links.items():
            if number in ends:
                link.clear()
        if number == MATCHING:
            for request in list(self.requests):
                self._unanswered(request)

    def heal(self, number: int) -> None:
        """Its links are up again."""
        self.cut.discard(number)

    def advance(self, by_ms: int, *, delivers: bool = True) -> None:
        """Let time pass; ticks run, and with `delivers` all that they say arrives."""
        for _ in range(by_ms // STEP_MS):
            self.now_ms += STEP_MS
            for game in self.games.values():
                game.now_ms = self.now_ms
            for request, asked in list(self.requests.items()):
                if asked.until_ms <= self.now_ms:
                    self._unanswered(request)
            for number, game in self.games.items():
                for every_ms, rule, state in TICKS[ROLES[number]]:
                    if self.now_ms % every_ms == 0:
                        said = rule(getattr(game, state), env=game.env(conn=0))
                        self._do(number, said, 0, 0)
            if self.now_ms % 250 == 0:
                for number in RAIDS:
                    self._tell_load(number)
            if delivers:
                self.settle()

    def restart(self, number: int) -> None:
        """A server dies and comes back with nothing, under a new incarnation."""
        self.cut_off(number)
        self.heal(number)
        old = self.games[number]
        game = self.games[number] = Game(ROLES[number], number)
        game.view = replace(game.view, incarnation=old.view.incarnation + 1)
        game.now_ms = self.now_ms
        for request, asked in list(self.requests.items()):
            if asked.center == number:
                del self.requests[request]

    # players ----------------------------------------------------------------------------------

    def arrive(self, user: int, center: int = 2, epoch: int = 1) -> None:
        """A session in the lobby of a center."""
        self.games[center].hold_session(user, center, epoch, conn=user)

    def center_of(self, user: int) -> int:
        """The center that holds his session, 0: none."""
        return next((n for n in CENTERS if self.games[n].sessions.get(user)), 0)

    def queue(self, user: int, kind: int = 1, *, level: int = 1, **wish: Any) -> None:
        """He wishes to wait; his card is read from the books."""
        center = self.center_of(user)
        session = self.games[center].sessions.get(user)
        assert session is not None
        card: dict[str, Any] = {
            "party": "", "party_size": 0, "name": f"name{user}", "worn": [], "entries": 0,
            "session_epoch": session.session_epoch, "raid": self.where.get(user, 0),
        }  # fmt: skip
        self.acts(user, RaidQueueCarded(kind=kind, level=level, **(card | wish)))

    def cancel(self, user: int) -> None:
        """He wishes to wait no more."""
        self.acts(user, RaidCancel())

    def explain(self, user: int) -> Any:
        """Why he waits; the answer when all was delivered."""
        self.acts(user, RaidExplain())
        self.settle()
        return self.told[user][-1]

    def acts(self, user: int, message: Any) -> None:
        """One message of a player into his lane at his center."""
        self._into_lane(self.center_of(user), user, (0, message))

    def disconnect(self, user: int) -> None:
        """His connection ends."""
        center = self.center_of(user)
        SessionLost(user).apply(self.games[center].sessions)
        self._into_lane(center, user, (0, RaidQueueLeft(user)))

    def busy(self, user: int) -> bool:
        """A request of his is on its way."""
        return any(asked.user == user for asked in self.requests.values())

    def kinds_told(self, user: int) -> list[str]:
        """Names of what a player was told."""
        return [type(message).__name__ for message in self.told.get(user, [])]

    # raid servers -----------------------------------------------------------------------------

    def end_raid(self, raid: int, *, finished: bool = True, by: int = 0) -> None:
        """A raid is settled by its server, or by another after its death."""
        over = RaidOver(raid, [seated.user for seated in self.raids[raid].team], finished)
        source = by or self.runs_at[raid]
        for user in over.users:
            del self.where[user]
        del self.raids[raid], self.runs_at[raid]
        for target in (*CENTERS, MATCHING):
            self.send(source, target, over)

    def _tell_load(self, number: int) -> None:
        taken = sum(server == number for server in self.runs_at.values())
        load = ServerLoad(
            number, "raid", f"raid-{number}", "127.0.0.1", 7000 + number, taken, self.rooms, True
        )
        for target in (*CENTERS, MATCHING):
            self.send(number, target, load)

    def _at_raid(self, number: int, message: Any) -> None:
        if message.opcode == Op.RAID_RESERVE:
            self._reserve(number, message)
        elif self.runs_at.get(message.raid) == number:
            self.end_raid(message.raid, finished=False)
        elif number not in self.mute:
            self.send(number, MATCHING, RaidReserved(message.raid, number, False))

    def _reserve(self, number: int, message: RaidReserve) -> None:
        self.asked_for.append(message)
        users = [seated.user for seated in message.team]
        taken = sum(server == number for server in self.runs_at.values())
        busy = users if any(user in self.where for user in users) else []
        held = taken < self.rooms and not busy
        self.refused_books += bool(busy)
        if held:
            self.raids[message.raid] = message
            self.runs_at[message.raid] = number
            self.where.update(dict.fromkeys(users, message.raid))
        if number not in self.mute:
            answer = RaidReserved(message.raid, number, held, "127.0.0.1", 7000 + number, busy)
            self.send(number, MATCHING, answer)

    # nodes ------------------------------------------------------------------------------------

    def _arrive(self, source: int, target: int, message: Any) -> None:
        role = ROLES[target]
        if role == "raid":
            self._at_raid(target, message)
        elif role == "matching":
            self._run(target, MATCHING_RULES[message.opcode], message, 0, source)
        elif message.opcode in CENTER_RULES:
            if message.opcode in LANE:
                self._into_lane(target, message.user, (source, message))
            else:
                self._run(target, CENTER_RULES[message.opcode], message, 0, source)
        else:
            asked = self.requests.pop(message.request, None)
            if asked is not None:
                self._run(target, OWN_RULES[message.opcode], message, asked.user, 0)
                self._reopen(asked)

    def _into_lane(self, center: int, user: int, item: tuple[int, Any]) -> None:
        for asked in self.requests.values():
            if (asked.center, asked.user) == (center, user):
                asked.waiting.append(item)
                return
        source, message = item
        rules = CENTER_RULES if source else OWN_RULES
        self._run(center, rules[message.opcode], message, user, source)

    def _reopen(self, asked: Asked) -> None:
        for item in asked.waiting:
            self._into_lane(asked.center, asked.user, item)

    def _unanswered(self, request: int) -> None:
        asked = self.requests.pop(request)
        self._tell(asked.center, asked.user, Refused(asked.refusal))
        self._reopen(asked)

    def _run(
        self, number: int, rule: tuple[Any, tuple[str, ...]], message: Any, user: int, source: int
    ) -> None:
        game = self.games[number]
        needs = {name: getattr(game, name) for name in rule[1]}
        env = game.env(0 if source else user, conn=user, peer=source)
        said = rule[0](message, **needs, env=env)
        if isinstance(said, Refuse):
            self._tell(number, user, Refused(said.code, said.detail))
        else:
            self._do(number, done(said), user, source)

    def _do(self, number: int, said: Outcome, user: int, source: int) -> None:
        if said.row is not None and not self._written(said.row):
            if isinstance(said.row_refused, Refuse):
                self._tell(number, user, Refused(said.row_refused.code))
            else:
                self._do(number, done(said.row_refused or Outcome()), user, source)
            return
        self.games[number].apply(said)
        for reply in said.replies:
            if source:
                self.send(number, source, reply)
            else:
                self._tell(number, user, reply)
        for send in said.sends:
            if isinstance(send, ToNode):
                self.send(number, send.number, send.message)
            elif isinstance(send, ToRole):
                for target, role in ROLES.items():
                    if role == send.role and target != number:
                        self.send(number, target, send.message)
            elif isinstance(send, ToUser):
                self._tell(number, send.user, send.message)
        for tell in said.tells:
            self._into_lane(number, tell.user, (0, tell.message))
        for ask in said.asks:
            self._ask(number, user, ask)

    def _ask(self, number: int, user: int, ask: Any) -> None:
        if number in self.cut or ask.number in self.cut:
            self._tell(number, user, Refused(ask.refusal))
            return
        self.request += 1
        until_ms = self.now_ms + ask.deadline_ms
        self.requests[self.request] = Asked(number, user, ask.refusal, until_ms)
        self.send(number, ask.number, replace(ask.message, request=self.request))

    def _written(self, row: RaidSeatPrepared) -> bool:
        return self.where.get(row.user) == row.raid

    def _tell(self, number: int, user: int, message: Any) -> None:
        if self.games[number].sessions.get(user) is not None:
            self.told.setdefault(user, []).append(message)
