"""What makes faults: what hangs is given up, what nobody can say is told apart, and each does what
it says."""

import asyncio
import contextlib
import os
import random
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mysql.connector
import pytest

from mmo.cluster import control
from mmo.cluster.process import identify
from mmo.errors import OperatorError
from mmo.proof import chaos, economy_books, kills, mysql_door, nemesis, proofs, reload_storm
from mmo.proof.arena import Arena
from mmo.proof.attacks import Raw
from mmo.proof.chaos import Chaos, Order
from mmo.proof.chaos_proofs import _with_p99
from mmo.proof.ground import Ground, limited, lowest_free
from mmo.proof.looks import expect_judged
from mmo.proof.mysql_door import MysqlDoor
from mmo.proof.not_done import Uncertain
from mmo.proof.proofs import Proof, prove
from mmo.proof.stores import Stores
from mmo.proof.verdict import Trial

LIMIT_S = 20.0


@pytest.fixture
def arena(tmp_path: Path) -> Any:
    """A home with its secrets and nobody behind its socket."""
    for name in ("mysql", "redis"):
        (tmp_path / name).write_text("secret")
    file = SimpleNamespace(mysql_socket=str(tmp_path / "m.sock"), redis_nodes=["127.0.0.1:1"])
    return SimpleNamespace(home=SimpleNamespace(secrets=tmp_path), file=lambda: file)


@pytest.fixture
def silent(arena: Any) -> Iterator[socket.socket]:
    """A server behind the socket that takes connections and never greets."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(arena.file().mysql_socket)
        server.listen(64)
        yield server


# -- what hangs is given up ------------------------------------------------------------------------


@pytest.mark.usefixtures("silent")
def test_a_database_that_never_greets_is_given_up(
    arena: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(economy_books, "CONNECT_S", 0.05)
    with pytest.raises(mysql.connector.Error):
        Stores(arena).heads()


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("is_cut", [True, False])
def test_nobody_waits_at_a_door_that_is_closed(
    arena: Any, monkeypatch: pytest.MonkeyPatch, is_cut: bool
) -> None:
    """Neither who was held, nor who was let through, nor who was accepted as it closed."""
    path: str = arena.file().mysql_socket
    dialled: list[socket.socket] = []

    def dial(*words: Any) -> None:
        for _ in range(16):
            line = socket.socket(socket.AF_UNIX)
            line.settimeout(LIMIT_S)
            line.connect(path)
            dialled.append(line)

    monkeypatch.setattr(mysql_door, "_end_lines", dial)
    pid = os.getpid() if is_cut else 0

    async def run() -> None:
        await MysqlDoor(arena).cut(pid, 0.0)
        for line in dialled:
            await asyncio.to_thread(ended, line)

    def ended(line: socket.socket) -> None:
        with line, contextlib.suppress(ConnectionError):
            assert line.recv(1) == b""

    asyncio.run(run())
    assert len(dialled) == 16


# -- a driver's fault is no end of a run -----------------------------------------------------------


async def passes(*_: Any) -> float:
    return 0.0


def one(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> tuple[bool, Chaos, list[Any]]:
    """What becomes of a word of the menu that raises."""

    async def word(_: Any) -> str:
        raise fault

    monkeypatch.setattr(chaos, "MENU", {"word": word})
    lines: list[Any] = []
    history: Any = SimpleNamespace(line=lambda kind, **fields: lines.append((kind, fields)))
    band: Any = SimpleNamespace(disturbances=0, until=passes, recovered_since=lambda *_: True)
    arena: Any = SimpleNamespace(home=SimpleNamespace(directory=Path("of a test")))
    run = Chaos(arena, Order(1, 1.0, ("word",)), Path(), lambda _: None)

    async def strike() -> bool:
        is_done = await run._one("word", None, history, band)  # type: ignore[arg-type]
        await asyncio.gather(*run._recovering)
        return is_done

    return asyncio.run(strike()), run, lines


def test_a_word_that_a_driver_ends_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    is_done, run, lines = one(monkeypatch, mysql.connector.Error("away"))
    assert not is_done and not lines and not run._struck
    assert "away" in run._not_done["word"]


def test_a_word_of_which_nobody_knows_is_in_the_history_and_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_done, run, lines = one(monkeypatch, Uncertain("no answer"))
    ((kind, fields),) = lines
    assert is_done and kind == "fault" and fields["uncertain"] and fields["recovered"]
    assert not run._struck and run._uncertain == {"word": 1} and not run._recovery_ms


def test_an_order_that_nobody_answered_is_uncertain_and_a_refused_one_is_not() -> None:
    faults: list[Exception] = [control.NotRunning(Path("s")), OperatorError("E0708", "not now")]

    async def kill(_: str) -> None:
        raise faults.pop(0)

    ground = Ground(SimpleNamespace(kill=kill), None, None)  # type: ignore[arg-type]
    with pytest.raises(Uncertain):
        asyncio.run(ground.kill("mysql"))
    with pytest.raises(LookupError) as refused:
        asyncio.run(ground.kill("mysql"))
    assert not isinstance(refused.value, Uncertain)


def test_whatever_interrupts_a_proof_is_a_finding_and_its_figures_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def breaks(_: Arena, trial: Trial, short: bool) -> None:
        trial.figure("faults", 7)
        raise mysql.connector.Error("away")

    monkeypatch.setattr(proofs.Proof, "run", lambda self: breaks)
    proof = Proof("broken", "none", "", "", needs_cluster=False)
    verdict = asyncio.run(prove(proof, home=None, short=True, say=lambda _: None, out=tmp_path))
    assert not verdict.held and verdict.figures["faults"] == 7
    assert verdict.findings[0].startswith("the proof was interrupted: Error: ")
    assert (tmp_path / "prove-broken.json").exists()


# -- each does what it says ------------------------------------------------------------------------


class Shard:
    """A Redis server that names nobody as the owner of any slot."""

    def text(self, *words: Any) -> str:
        return "7" if words[1] == "KEYSLOT" else "me"

    def ask(self, *words: Any) -> Any:
        return []


def test_a_slot_that_nobody_owns_is_not_moved(arena: Any) -> None:
    ground: Any = SimpleNamespace(arena=arena, redis=lambda _: contextlib.nullcontext(Shard()))
    work = asyncio.to_thread(nemesis._moved, ground, ["redis-1", "redis-2"], "{u:1}:snap")
    with pytest.raises(LookupError):
        asyncio.run(asyncio.wait_for(work, LIMIT_S))


def test_a_point_that_is_not_reached_is_disarmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nemesis, "REACHED_S", 0.0)
    armed: list[tuple[str, str, int]] = []

    async def arm(*words: Any) -> None:
        armed.append(words)

    own = os.getpid()
    ground: Any = SimpleNamespace(
        rng=random.Random(1), arena=SimpleNamespace(arm=arm), pid=lambda _: own,
        pick=lambda names: names[0], nodes=lambda role: [role],
    )  # fmt: skip
    assert identify(own) is not None
    with pytest.raises(LookupError, match="never reached"):
        asyncio.run(nemesis.kill_at_point(ground))
    (first, last) = armed
    assert first[:2] == last[:2] and first[2] <= 5 and last[2] == nemesis.NEVER


def test_only_heads_of_players_who_are_somewhere_are_locked_each_by_its_key() -> None:
    class Cursor:
        def __init__(self, users: range) -> None:
            self._users = users

        def execute(self, text: str) -> None:
            assert "place_number <> 0" in text

        def fetchall(self) -> list[tuple[int]]:
            return [(user,) for user in self._users]

    chance = random.Random(1)
    some = nemesis._locking(Cursor(range(1, 40)), "player_head", chance)
    assert len({*some}) == nemesis.LOCKED_MAX
    assert all("WHERE user_id = " in text and text.endswith("FOR UPDATE") for text in some)
    assert len(nemesis._locking(Cursor(range(3)), "player_head", chance)) == 3
    with pytest.raises(LookupError):
        nemesis._locking(Cursor(range(0)), "player_head", chance)


HOLED = """
import os, sys
first, second = os.open(os.devnull, 0), os.open(os.devnull, 0)
os.close(first)
print(first, flush=True)
sys.stdin.readline()
try:
    os.open(os.devnull, 0)
    print("opened", flush=True)
except OSError as error:
    print(error.errno, flush=True)
"""


def test_a_process_with_a_hole_among_its_descriptors_opens_nothing_more() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        hole = int(process.stdout.readline())

        async def run() -> str:
            assert lowest_free(process.pid) == hole
            async with limited(process.pid, resource.RLIMIT_NOFILE, hole):
                process.stdin.write("\n")  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
                return str(process.stdout.readline())  # type: ignore[union-attr]

        assert int(asyncio.run(run())) == 24  # EMFILE


def test_a_cut_is_a_reset_also_when_nothing_is_unread() -> None:
    async def run() -> None:
        seen: asyncio.Future[BaseException | bytes] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                seen.set_result(await reader.read(1))
            except OSError as fault:
                seen.set_result(fault)
            writer.transport.abort()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        raw = await Raw.open(server.sockets[0].getsockname(), "127.0.0.1")
        raw.cut()
        async with asyncio.timeout(LIMIT_S):
            assert isinstance(await seen, ConnectionResetError)
        server.close()

    asyncio.run(run())


def test_blows_count_that_were_struck_and_answered_while_no_database_listened(
    arena: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([(False, 12), (False, 19), (True, 30), (True, 40)])  # and blows after each

    class Down:
        heroes = (SimpleNamespace(hit_open=True), SimpleNamespace(hit_open=False))
        hits = 10

    def listens(_: str) -> bool:
        is_up, Down.hits = next(looks)
        return is_up

    processes = iter([4, 4, 4, 4, 5])
    file = arena.file()

    def now() -> Any:
        file.processes = {"mysql": SimpleNamespace(pid=next(processes))}
        return file

    monkeypatch.setattr(kills, "_listens", listens)
    made: Any = SimpleNamespace(file=now)
    # Of ten before, one on its way, and twelve at the last look at which none listened.
    assert asyncio.run(kills._hits_while_down(made, Down(), 4)) == 1  # type: ignore[arg-type]


def test_a_socket_without_a_server_is_not_listened_at(arena: Any) -> None:
    path = arena.file().mysql_socket
    assert not kills._listens(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(1)
        assert kills._listens(path)
    assert not kills._listens(path)


def storm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: dict[str, Any]
) -> tuple[dict[str, int], list[str], str]:
    """What a whole storm counts when every reload says the same."""
    (tmp_path / "systems").mkdir()
    begun: list[str] = []

    async def command(*words: str, **_: Any) -> dict[str, Any]:
        begun.append(words[0])
        await asyncio.sleep(0)
        return said

    rng = random.Random(3)
    made: Any = SimpleNamespace(command=command)
    ground = Ground(made, rng, None)  # type: ignore[arg-type]
    ground.game = tmp_path

    async def run() -> None:
        text = await reload_storm.reload_storm(ground)
        assert "saves from now on" in text
        assert ground.counted, "it has begun when one was decided"
        assert ground.storm is not None and not ground.storm.done()
        await ground.storm

    asyncio.run(run())
    return ground.counted, ground.wrong, begun[0]


@pytest.mark.parametrize(
    ("code", "counted"), [("E0411", "bad saves refused"), ("E0418", "bad saves not decided")]
)
def test_only_a_refusal_of_the_code_itself_refuses_a_bad_save(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, counted: str
) -> None:
    told, wrong, _ = storm(monkeypatch, tmp_path, {"error": {"code": code}})
    assert set(told) == {counted, "good saves not taken"}
    assert bool(wrong) == (code == "E0411"), "a good one refused for what is in it"


def test_a_run_that_judged_no_rolls_rewards_or_places_says_nothing() -> None:
    whole = {
        "players": 64, "snapshots_compared": 59, "rolls_recomputed": 9, "raid_rewards": 9,
        "places_compared": 9,
    }  # fmt: skip

    def found(**changed: int) -> list[str]:
        trial = Trial("chaos", lambda _: None)
        expect_judged(trial, {"checker": {**whole, **changed}})
        return trial.verdict().findings

    assert not found()
    assert found(places_compared=0) == ["nothing was judged: places_compared"]
    assert found(snapshots_compared=31) and found(players=0, snapshots_compared=0)


def test_of_few_faults_of_a_kind_none_is_called_a_p99() -> None:
    row = {"count": 100, "p50_ms": 1.0, "p99_ms": 2.0, "max_ms": 2.0}
    told = _with_p99({"few": row, "many": {**row, "count": 101}})
    assert "p99_ms" not in told["few"] and told["many"]["p99_ms"] == 2.0
