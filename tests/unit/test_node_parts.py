"""The small parts of a node, each alone: timers, samples, failpoints, log lines, admin socket."""

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from mmo.log import open_log, without_secrets
from mmo.node.admin import Admin
from mmo.node.failpoints import Failpoints
from mmo.node.metrics import Metrics, Samples
from mmo.node.passwords import PasswordPool
from mmo.node.timers import Timers
from mmo.testing.clock import VirtualClock


def test_timers_when_time_passes_run_in_order_of_time() -> None:
    clock, ran = VirtualClock(0), []
    timers = Timers(clock)
    for wait_ms in (30, 10, 20, 10):
        timers.after(wait_ms, lambda wait_ms=wait_ms: ran.append(wait_ms))  # type: ignore[misc]
    assert timers.next_due_ms() == 10 and timers.run_due() == 0
    clock.move(20)
    assert timers.run_due() == 3 and ran == [10, 10, 20]
    clock.move(20)
    timers.run_due()
    assert ran == [10, 10, 20, 30] and timers.next_due_ms() is None


def test_timers_when_cancelled_do_nothing() -> None:
    clock, ran = VirtualClock(0), []
    timers = Timers(clock)
    timer = timers.after(5, lambda: ran.append(1))
    timer.cancel()
    clock.move(10)
    assert timers.next_due_ms() is None and timers.run_due() == 0 and ran == []


def test_timers_when_periodic_and_late_do_not_make_up() -> None:
    clock, ran = VirtualClock(0), []
    timers = Timers(clock)
    timers.every(10, lambda: ran.append(clock()))
    clock.move(95)
    timers.run_due()
    assert ran == [95]
    clock.move(10)
    timers.run_due()
    assert ran == [95, 105]


def test_timers_when_an_earlier_one_comes_say_so() -> None:
    clock, told = VirtualClock(0), []
    timers = Timers(clock)
    timers.after(100, lambda: None)
    timers.on_earlier = lambda: told.append(timers.next_due_ms())
    timers.after(200, lambda: None)
    timers.after(50, lambda: None)
    assert told == [50]


def test_samples_when_full_forget_the_oldest() -> None:
    samples = Samples()
    assert samples.percentile(990) == 0.0
    for value in range(1_000):
        samples.add(value)
    assert samples.percentile(0) == 488 and samples.percentile(999) == 999
    metrics = Metrics()
    metrics.count("a_total", 3)
    metrics.sample("b_ms", 2.0)
    assert metrics.report() == {"a_total": 3, "b_ms_p50": 2.0, "b_ms_p99": 2.0}


def test_failpoint_when_not_allowed_or_unknown_cannot_be_armed() -> None:
    for allowed, point, times in (
        (False, "after-commit", 1),
        (True, "x", 1),
        (True, "after-row", 0),
    ):
        with pytest.raises(ValueError, match="failpoint"):
            Failpoints(allowed).arm(point, times)


def test_failpoint_when_reached_the_named_time_kills_this_process() -> None:
    child = os.fork()
    if child == 0:  # the child must die at the second reach, not before and not after
        points = Failpoints(True)
        points.arm("after-commit", 2)
        points.reach("before-commit")
        points.reach("after-commit")
        points.reach("after-commit")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == 9


def test_log_when_written_is_one_json_object_a_line_without_secrets(tmp_path: Path) -> None:
    path = tmp_path / "n.jsonl"
    log = open_log("channel-1", level="info", path=str(path), bytes_max=1 << 20, files_kept=2)
    log.debug("not this")
    log.info("entered", conn=5, user=7, opcode=105, generation=1, session_token="eyJ", name="한글")
    try:
        raise RuntimeError("a bug")
    except RuntimeError:
        log.error("rule raised", exc_info=True)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["entered", "rule raised"]
    assert lines[0]["session_token"] == "***" and lines[0]["name"] == "한글"
    assert list(lines[0])[:4] == ["time", "level", "event", "node"]
    assert (lines[0]["conn"], lines[0]["user"], lines[0]["node"]) == (5, 7, "channel-1")
    assert "RuntimeError: a bug" in lines[1]["traceback"]


def test_log_when_its_size_is_reached_turns_the_file(tmp_path: Path) -> None:
    path = tmp_path / "n.jsonl"
    log = open_log("n", level="info", path=str(path), bytes_max=500, files_kept=2)
    for number in range(40):
        log.info("line", number=number)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["n.jsonl", "n.jsonl.1", "n.jsonl.2"]
    for kept in tmp_path.iterdir():
        assert all(json.loads(line) for line in kept.read_text().splitlines())


def test_secrets_when_nested_are_struck_out() -> None:
    given = {"a": 1, "Password": "x", "inner": {"link_secret": "y", "b": 2}}
    assert without_secrets(given) == {
        "a": 1,
        "Password": "***",
        "inner": {"link_secret": "***", "b": 2},
    }


async def ask(path: Path, *lines: bytes) -> list[Any]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        answers = []
        for line in lines:
            writer.write(line + b"\n")
            answers.append(json.loads(await reader.readline()))
        return answers
    finally:
        writer.close()


async def test_admin_when_asked_answers_each_line(tmp_path: Path) -> None:
    path = tmp_path / "n.sock"
    path.write_bytes(b"left by a killed process")
    admin = Admin(
        str(path), {"status": lambda q: {"ok": q["x"]}, "fail": lambda q: {"y": q["nothing"]}}
    )
    await admin.start()
    assert path.stat().st_mode & 0o777 == 0o600
    good, unknown, bad, worse, raising = await ask(
        path, b'{"ask":"status","x":1}', b'{"ask":"?"}', b"garbage", b"[1]", b'{"ask":"fail"}'
    )
    assert good == {"ok": 1}
    assert [a["error"]["code"] for a in (unknown, bad, worse)] == ["E0703"] * 3
    assert raising["error"]["code"] == "E0704"
    await admin.stop()
    assert not path.exists()


async def test_password_threads_when_nice_give_way_and_nobody_else_does() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    pool = PasswordPool(threads=2, memory_kib=8, passes=1, pepper=b"p", nice=3)
    try:
        await asyncio.gather(*(pool.hash("x") for _ in range(8)))
        threads = [each for each in threading.enumerate() if each.name.startswith("password_")]
        assert threads
        found = {os.getpriority(os.PRIO_PROCESS, each.native_id or 0) for each in threads}
        assert found == {min(19, own + 3)}
        assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own
    finally:
        pool.close()


async def test_passwords_when_checked_match_only_themselves() -> None:
    pool = PasswordPool(threads=1, memory_kib=8_192, passes=1, pepper=b"p")
    try:
        kept = await pool.hash("비밀번호 '\x00")
        assert kept.startswith("$argon2id$")
        assert await pool.verify(kept, "비밀번호 '\x00")
        assert not await pool.verify(kept, "비밀번호 '")
        assert not await pool.verify(None, "nobody")
        assert not await pool.verify("no hash at all", "x")
        other = PasswordPool(threads=1, memory_kib=8_192, passes=1, pepper=b"q")
        assert not await other.verify(kept, "비밀번호 '\x00")
        other.close()
    finally:
        pool.close()
