"""What is left when the users of a load test have gone: processes that are others, players, rooms
and tickets that are still held, and nodes that do not say.

Limits and gates over these figures are in `test_load_tests`.
"""

import asyncio
import json
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from loadtest import gates, run, watch
from loadtest.profiles import Step, read_profiles

from mmo.proof.arena import Arena


def status(
    nodes: dict[str, int], redis: list[int], mysql: int = 8, restarts: dict[str, int] | None = None
) -> dict[str, Any]:
    times = restarts or {}
    servers = [
        {"name": f"redis-{number}", "pid": pid, "restarts": times.get(f"redis-{number}", 0)}
        for number, pid in enumerate(redis, 1)
    ]
    return {
        "nodes": [
            {
                "name": name,
                "pid": pid,
                "restarts": times.get(name, 0),
                "role": name.partition("-")[0],
            }
            for name, pid in nodes.items()
        ],
        "stores": {
            "mysql": {"pid": mysql, "restarts": times.get("mysql", 0)},
            "redis": {"servers": servers},
        },
    }


BEFORE = status({"center-1": 3, "login-1": 4}, [5, 6])


@pytest.mark.parametrize(
    ("now", "ended"),
    [
        (BEFORE, []),
        (status({"center-1": 30, "login-1": 4}, [5, 6]), ["center-1"]),
        (status({"center-1": 0, "login-1": 4}, [5, 6]), ["center-1"]),
        (status({"login-1": 4}, [5, 6]), ["center-1"]),
        (status({"center-1": 3, "login-1": 4, "channel-9": 9}, [5, 6]), []),
        (status({"center-1": 3, "login-1": 4}, [5, 60], 80), ["mysql", "redis"]),
    ],
)
def test_a_process_that_is_another_one_or_none_has_ended(
    now: dict[str, Any], ended: list[str]
) -> None:
    assert watch.ended(BEFORE, now) == ended


def test_stores_elsewhere_tell_no_process() -> None:
    stores = {"mysql": {"pid": 0, "restarts": 0}, "redis": {"ready": True}}
    elsewhere = {"nodes": BEFORE["nodes"], "stores": stores}
    assert watch.ended(elsewhere, elsewhere) == watch.restarted(elsewhere, elsewhere) == []


def test_restarts_are_those_of_the_run_alone() -> None:
    nodes = {"center-1": 3, "login-1": 4}
    before = status(nodes, [5, 6], restarts={"center-1": 2})
    now = status(nodes, [5, 6], restarts={"center-1": 4, "redis-2": 1, "mysql": 1})
    assert watch.restarted(before, now) == ["center-1", "center-1", "mysql", "redis-2"]
    assert watch.restarted(before, before) == []


class Looked(watch.Watch):
    """Nodes of a status that are asked for their figures; those in `silent` do not answer."""

    silent: tuple[str, ...] = ()
    figures = "mmo_connections 0\nmmo_players 0\nmmo_rooms 0\n"

    async def look(self) -> dict[str, watch.Scrape]:
        self.players_max = 200
        names = [row["name"] for row in (await self._arena.status())["nodes"]]
        answered = [name for name in names if name not in self.silent]
        return {name: watch.read(self.figures, 0.0) for name in answered}


def held_by(
    *, silent: tuple[str, ...] = (), figures: str = Looked.figures, stats: Any = None
) -> tuple[dict[str, int], list[str]]:
    """What a center and a login server are seen to hold."""

    async def tell() -> Any:
        return status({"center-1": 3, "login-1": 4}, [])

    async def tell_all(name: str) -> Any:
        if stats is None:
            raise TimeoutError
        return stats

    looked = Looked(cast(Arena, SimpleNamespace(status=tell, stats=tell_all)))
    looked.silent, looked.figures = silent, figures
    return asyncio.run(looked.left())


NO_TICKETS = {"state_tickets_waiting": 0, "state_tickets_seats": 0, "core_frames_total": 9}


def test_nothing_is_left_when_every_node_says_so_now() -> None:
    assert held_by(stats=NO_TICKETS) == ({}, [])


def test_a_node_that_does_not_say_what_is_left_is_named() -> None:
    assert held_by(stats=NO_TICKETS, silent=("login-1",)) == ({}, ["login-1"])
    assert held_by(stats=NO_TICKETS, figures="mmo_connections 0\nmmo_players 0\n")[1] == [
        "center-1",
        "login-1",
    ]
    assert held_by(stats=None)[1] == held_by(stats={})[1] == ["center-1"]


def test_players_rooms_tickets_and_seats_are_left_by_name() -> None:
    stats = NO_TICKETS | {"state_tickets_waiting": 2}
    assert held_by(stats=stats, figures=Looked.figures.replace("rooms 0", "rooms 1")) == (
        {"center-1 mmo_rooms": 1, "center-1 state_tickets_waiting": 2, "login-1 mmo_rooms": 1},
        [],
    )


def test_a_scrape_that_fails_is_no_scrape_and_the_most_players_at_a_look_are_kept(
    tmp_path: Path,
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop())
        writer.close()

    async def looks(silent_port: int) -> list[int]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        ports = {"center-1": port, "login-1": silent_port}
        targets = [
            {"labels": {"node": name}, "targets": [f"127.0.0.1:{port}"]}
            for name, port in ports.items()
        ]
        (tmp_path / "targets.json").write_text(json.dumps(targets), encoding="utf-8")
        async with server:
            return [len(await made.look()) for _ in range(3)]

    answers = [
        b"HTTP/1.1 500 Oops\r\n\r\nmmo_players 99\n",
        b"HTTP/1.1 200 OK\r\n\r\nmmo_players 2\n",
        b"HTTP/1.1 200 OK\r\n\r\nmmo_players 7\n",
    ]
    home = SimpleNamespace(metrics_targets=tmp_path / "targets.json")
    made = watch.Watch(cast(Arena, SimpleNamespace(home=home)))
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # nothing listens there
        assert asyncio.run(looks(held.getsockname()[1])) == [1, 1, 0]
    assert made.players_max == 7 and len(made.scrapes["center-1"]) == 2


ROOM: tuple[dict[str, int], list[str]] = ({"raid-1 mmo_rooms": 1}, [])
SILENT: tuple[dict[str, int], list[str]] = ({}, ["raid-1"])
NOBODY: tuple[dict[str, int], list[str]] = ({}, [])


@pytest.mark.parametrize(
    ("seats", "looks", "found"),
    [
        ({}, [NOBODY], (0, 20.0)),
        ({}, [ROOM, SILENT, NOBODY], (0, 22.0)),
        ({"channel-1": 3}, [ROOM] * 11, (4, 30.0)),
        ({}, [SILENT] * 11, (None, 30.0)),
    ],
)
def test_ghosts_have_one_time_to_go_and_where_nobody_tells_they_are_unknown(
    seats: dict[str, int], looks: list[Any], found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the 30 s that all have, seats and connections take 20, and each look one."""
    clock = SimpleNamespace(now_s=0.0)

    async def wait(wait_s: float) -> None:
        clock.now_s += 1.0

    async def who_is_left(arena: Any, within_s: float) -> Any:
        clock.now_s += 20.0
        return seats, {}, 20.0

    async def look() -> Any:
        return looks.pop(0)

    monkeypatch.setattr(run, "who_is_left", who_is_left)
    monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    monkeypatch.setattr(asyncio, "sleep", wait)
    made, watched = run.Run(read_profiles()["plateau"], None), SimpleNamespace(left=look)
    assert asyncio.run(made._ghosts(cast(Arena, None), cast(watch.Watch, watched))) == found
    assert not looks and bool(made._findings) == (found[0] != 0)


def test_a_step_that_ends_when_the_players_leave_was_not_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(now_s=0.0)

    async def wait(wait_s: float) -> None:
        clock.now_s += wait_s

    async def do(arena: Any, step: Step, turn: int) -> str:
        clock.now_s += 20.0 if step.at_s == 130.0 else 1.0
        return ""

    monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    monkeypatch.setattr(asyncio, "sleep", wait)
    made = run.Run(read_profiles()["deploy"], None)
    monkeypatch.setattr(made, "_do", do)
    asyncio.run(made._deploy(cast(Arena, None)))
    late = {"does": "reload", "began_s": 130.0, "ended_s": 150.0, "done": False}
    assert made.steps()["steps"][-1] == late and made.steps()["steps_done"] == 3
    (finding,) = made._findings
    assert finding.startswith("reload after 130 s: it ended after 150 s")
    after: dict[str, Any] = {"ghosts": 0, "players_max": 60, "money_drift": 0, "growth_mib": 0.0}
    rows = gates.judge_after(made.profile, after | made.steps() | {"ended": [], "restarted": []})
    assert [row.name for row in rows if not row.held] == ["steps done"]


def test_a_run_judges_the_processes_it_left_by_those_it_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nobody_is_left(arena: Any, within_s: float) -> Any:
        return {}, {}, 0.0

    async def tell() -> Any:
        return status({"center-1": 30, "login-1": 4}, [5, 6], restarts={"center-1": 1})

    async def command(*words: str, **_: Any) -> Any:
        return {"players": 1, "ledger_lines": 1, "currencies": {}, "findings": []}

    async def stats(name: str) -> Any:
        return NO_TICKETS

    monkeypatch.setattr(run, "who_is_left", nobody_is_left)
    arena: Any = SimpleNamespace(status=tell, command=command, stats=stats)
    made = run.Run(read_profiles()["plateau"], None)
    after = asyncio.run(made._after(arena, Looked(arena), BEFORE))
    rows = gates.judge_after(made.profile, after)
    missed = {row.name for row in rows if not row.held}
    assert missed == {"memory growth MiB", "processes ended", "restarts unasked"}
    lost = {"connection to center lost: 0": 4}
    made._explain([*rows, gates.at_most("connections lost", 4, 0)], {**after, "lost": lost})
    assert made._findings == [
        "4 times: connection to center lost: 0",
        "processes ended: center-1",
        "restarts unasked: center-1",
    ]
