"""A realm of one login server, one center and two channel servers, without sockets or time.

Answers the steps of a walk by the rules of the game, small; with knobs that make it lie, so that
the tests show that a client notices. Only for tests of the client.
"""

import random
from typing import Any

import msgspec

from mmo.client.hero import Hero, Policy
from mmo.client.meter import Meter
from mmo.client.protocol import Answer, Event, Ping, Pong, Push, Stray, Token
from mmo.client.steps import Dial, Lost, Pause, Receive, Send, Walk
from mmo.wire.messages import account, hunt, presence, ranking, session
from mmo.wire.opcode import Code

LOGIN_PORT, CENTER_PORT, OTHER_CENTER_PORT, GAME_PORTS = 1, 2, 3, {11: 11, 12: 12}
CENTERS = [("realm", CENTER_PORT), ("realm", OTHER_CENTER_PORT)]


class Player:
    """What the realm holds of the one player."""

    def __init__(self) -> None:
        self.password = ""
        self.epoch = 0
        self.place = 0
        self.level, self.exp, self.gold = 1, 0, 0
        self.last_login_ms = 0
        self.items: dict[int, presence.ItemView] = {}
        self.hp = {1: 0, 2: 3}


class Realm:
    """Walks a generator. `lose_at`: numbers of sent messages whose connection ends instead of an
    answer; `retry_at` and `wrong_place_at`: numbers answered by that refusal; the other knobs are
    lies."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.player = Player()
        self.names: dict[str, str] = {}
        self.kept_out = 0  # code of the refusal of a right password
        self.lanes: dict[str, int] = {}
        self.owned: dict[str, bool] = {}
        self.waiting: dict[str, list[Event]] = {}
        self.sent: list[Any] = []
        self.lose_at: set[int] = set()
        self.lost_reason = 0
        self.retry_at: set[int] = set()
        self.wrong_place_at: set[int] = set()
        self.mute_at: set[int] = set()
        self.answer_twice_at: set[int] = set()
        self.leaving: presence.ServerLeaving | None = None  # pushed with the next blow's answer
        self.deaf_ports: set[int] = set()  # nobody answers there
        self.forget_gold_at_login = 0
        self.forget_rewards = False
        self.channel = 0

    def hero(self, seed: int = 1, **policy: Any) -> Hero:
        """A player of this realm."""
        return Hero(
            "용사one",
            "long enough",
            [("realm", LOGIN_PORT)],
            Meter(),
            random.Random(seed),
            lambda: self.now,
            Policy(**policy),
        )

    def walk(self, walk: Walk[Any]) -> Any:
        """Carry out every step; time moves only by pauses and waits."""
        result: Any = None
        fault: Lost | None = None
        for _ in range(20_000):
            try:
                step = walk.throw(fault) if fault else walk.send(result)
            except StopIteration as end:
                return end.value
            result, fault = None, None
            try:
                result = self._do(step)
            except Lost as lost:
                self.lanes.pop(lost.lane, None)
                fault = lost
        raise AssertionError("the walk does not end")

    def _do(self, step: Any) -> Any:
        if isinstance(step, Pause):
            self.now += step.wait_ms / 1000
            return None
        if isinstance(step, Dial):
            if step.port in self.deaf_ports:
                raise Lost(step.lane, 0, "cannot dial")
            self.lanes[step.lane] = step.port
            self.waiting[step.lane] = []
            return None
        if isinstance(step, Send | Receive) and step.lane not in self.lanes:
            raise Lost(step.lane, 0, "not connected")
        if isinstance(step, Send):
            return self._send(step)
        if isinstance(step, Receive):
            if self.waiting[step.lane]:
                event = self.waiting[step.lane].pop(0)
                if isinstance(event, Lost):
                    raise event
                return event
            self.now += step.wait_ms / 1000
            return None
        self.lanes.pop(step.lane, None)
        return None

    def _send(self, step: Send) -> int:
        self.sent.append(step.message)
        self.now += 0.01
        number = len(self.sent)
        line: list[Any] = self.waiting[step.lane]
        if number in self.lose_at:
            line.append(Lost(step.lane, self.lost_reason))
            return number
        if number in self.mute_at:
            return number
        if number in self.retry_at:
            line.append(Answer(number, session.Refused(int(Code.RETRY_LATER), "store away")))
            return number
        if number in self.wrong_place_at:
            line.append(Answer(number, session.Refused(int(Code.WRONG_PLACE))))
            return number
        answers = self._answer(self.lanes[step.lane], step.message)
        line.append(Answer(number, answers[0]))
        line += [Push(push) for push in answers[1:]]
        if self.leaving is not None and isinstance(step.message, hunt.Hit):
            line.insert(0, Push(self.leaving))
            self.leaving = None
        if number in self.answer_twice_at:
            line.insert(0, Stray(number, answers[0]))
        return number

    def _answer(self, port: int, message: Any) -> list[Any]:
        name = f"_{type(message).__name__.lower()}"
        return getattr(self, name)(port, message)  # type: ignore[no-any-return]

    def _hello(self, port: int, _: session.Hello) -> list[Any]:
        return [session.HelloOk(1, port, "any", 1, 0)]

    def _ping(self, port: int, ping: Ping) -> list[Any]:
        return [Pong(ping.body)]

    def _register(self, port: int, ask: account.Register) -> list[Any]:
        if ask.name in self.names:
            return [session.Refused(int(Code.NAME_TAKEN))]
        self.names[ask.name] = ask.password
        return [account.RegisterOk(ask.name)]

    def _login(self, port: int, ask: account.Login) -> list[Any]:
        if self.names.get(ask.name) != ask.password:
            return [session.Refused(int(Code.CREDENTIALS_WRONG))]
        if self.kept_out:
            return [session.Refused(self.kept_out, "60")]
        player = self.player
        player.epoch += 1
        player.place = 0
        player.gold -= self.forget_gold_at_login if player.epoch > 1 else 0
        return [account.LoginOk(7, f"login {player.epoch}", "realm", CENTER_PORT, 2)]

    def _token(self, port: int, token: Token) -> list[Any]:
        kind, epoch = token.text.split()
        if int(epoch) != self.player.epoch:
            return [session.Refused(int(Code.TOKEN_REFUSED))]
        port = CENTER_PORT if port == OTHER_CENTER_PORT else port
        if port == CENTER_PORT and kind == "session" and self.player.place not in (0, port):
            held = presence.SessionOk(7, self.player.epoch, self.player.place, token.text)
            return [msgspec.structs.replace(held, centers=CENTERS)]
        if port != CENTER_PORT and kind == "session" and self.player.place != port:
            return [session.Refused(int(Code.TOKEN_REFUSED))]
        self.player.place = port
        self.channel = 0
        return [self._welcome(port)]

    def _welcome(self, port: int) -> presence.Welcome:
        player = self.player
        last, player.last_login_ms = player.last_login_ms, 5
        return presence.Welcome(
            7, "용사one", player.epoch, 0, port, player.level, player.exp, player.gold, 0, 0, 0,
            last, list(player.items.values()), [], [], f"session {player.epoch}", centers=CENTERS,
        )  # fmt: skip

    def _serverlistask(self, port: int, _: Any) -> list[Any]:
        rows = [
            presence.ServerRow(number, f"channel-{number}", 0, 30, "realm", number, True)
            for number in GAME_PORTS
        ]
        return [presence.ServerListOk(rows)]

    def _rankingpage(self, port: int, ask: ranking.RankingPage) -> list[Any]:
        rows = [ranking.RankingRow(rank, rank, f"raider{rank}", 900 - rank) for rank in (1, 2, 3)]
        shown = [row for row in rows if row.rank >= ask.start][: ask.count]
        return [ranking.RankingOk(1, 3, 0 if ask.start > 2 else 2, 898, shown)]

    def _move(self, port: int, ask: presence.Move) -> list[Any]:
        if ask.number not in GAME_PORTS:
            return [session.Refused(int(Code.SERVER_UNKNOWN))]
        if ask.number == self.player.place:
            return [session.Refused(int(Code.ALREADY_THERE))]
        return [presence.MoveOk(ask.number, "realm", ask.number, f"move {self.player.epoch}")]

    def _lobby(self, port: int, _: Any) -> list[Any]:
        self.player.place = port
        return [self._welcome(port)]

    def _logout(self, port: int, _: Any) -> list[Any]:
        return [presence.LogoutOk()]

    def _channellistask(self, port: int, _: Any) -> list[Any]:
        self.channel = 0
        return [hunt.ChannelListOk([hunt.ChannelRow(n, 0, 10) for n in (1, 2, 3)])]

    def _channelenter(self, port: int, ask: hunt.ChannelEnter) -> list[Any]:
        if ask.number not in (1, 2, 3):
            return [session.Refused(int(Code.CHANNEL_UNKNOWN))]
        self.channel = ask.number
        return [hunt.ChannelEnterOk(ask.number, 1, self._monsters())]

    def _channelleave(self, port: int, _: Any) -> list[Any]:
        self.channel = 0
        return [hunt.ChannelLeaveOk()]

    def _monsters(self) -> list[hunt.MonsterRow]:
        return [hunt.MonsterRow(n, n - 1, hp, 3, 0) for n, hp in self.player.hp.items()]

    def _monstersask(self, port: int, _: Any) -> list[Any]:
        self.player.hp[2] = 3
        return [hunt.MonstersOk(self._monsters())]

    def _hit(self, port: int, ask: hunt.Hit) -> list[Any]:
        player = self.player
        if not self.channel:
            return [session.Refused(int(Code.NOT_IN_CHANNEL))]
        if ask.monster not in player.hp:
            return [session.Refused(int(Code.MONSTER_UNKNOWN))]
        player.hp[ask.monster] -= 1
        hp = player.hp[ask.monster]
        answer = hunt.HitOk(ask.monster, 1, hp, hp == 0)
        if hp > 0 or self.forget_rewards:
            return [answer]
        player.exp, player.gold = player.exp + 1, player.gold + 5
        if player.exp >= player.level:
            player.level, player.exp = player.level + 1, 0
        item = presence.ItemView(len(player.items) + 1, 2, len(player.items), 30, 1, 0)
        player.items[item.uid] = item
        told = hunt.KillReward(1, 1, player.level, player.exp, 0, 5, player.gold, [item])
        return [answer, told]
