"""New code is tried in a process of its own, which may hang, eat memory and die.

Owns that process on both sides: `Checker` asks it, `python -m mmo.cli.checker` is it. It stays, so
that a check does not wait for an interpreter, and forks for each bundle; the fork has limits of
processor time and memory. A while after a check the next fork is made and walks through what passed
last, so that the next save does not wait for the copying of pages. Called by `reload`, `dev`,
`start` and `check`.
"""

import asyncio
import contextlib
import importlib
import os
import pkgutil
import resource
import select
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import msgspec

from mmo.cluster.process import python_module
from mmo.errors import OperatorError

if TYPE_CHECKING:
    from mmo.node.bundle import Bundle

EDGES = "mmo.edges"
WALL_TIMES = 4  # a check may take this many times its processor time before it is ended
WALL_S = 5.0  # and this much more
LENGTH_BYTES = 4
WARM_AFTER_S = 0.25  # of silence: right after a check the nodes need the processor

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


class Checked(msgspec.Struct, frozen=True):
    """A bundle without faults. `rules` that were looked at."""

    rules: int
    took_ms: float


class Checker:
    """One process beside the one that asks; started at the first check. `close` it."""

    def __init__(self, config_file: str, check_ms: int, check_bytes_max: int) -> None:
        self._config_file = config_file
        self._limits = (check_ms, check_bytes_max)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process; it is ready by the time it is asked."""
        if self._process is None or self._process.returncode is not None:
            command = [*python_module("mmo.cli.checker"), self._config_file]
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )

    async def check(self, packed: bytes, digest: str) -> Checked:
        """Raises `OperatorError` for the first fault, with `file` and `line` where it has a
        place."""
        await self.start()
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        began = time.monotonic()
        question = _pack([packed, digest, *self._limits])
        try:
            process.stdin.write(len(question).to_bytes(LENGTH_BYTES, "little") + question)
            await process.stdin.drain()
            size = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES), "little")
            answer = _unpack(await process.stdout.readexactly(size))
        except (OSError, asyncio.IncompleteReadError) as fault:
            raise OperatorError("E0413", "the process that checks code ended", "try again") from (
                fault
            )
        if "code" in answer:
            raise fault_of(answer)
        return Checked(answer["rules"], round((time.monotonic() - began) * 1_000, 1))

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()


def fault_of(answer: dict[str, Any]) -> OperatorError:
    """The error that another process told."""
    from mmo.node.code_faults import CodeError

    if not answer.get("file"):
        return OperatorError(answer["code"], answer["cause"], answer.get("fix", ""))
    fault = CodeError(answer["code"], answer["file"], answer.get("line", 0), answer["cause"])
    fault.fix = answer.get("fix", "") or fault.fix
    return fault


def told(fault: OperatorError) -> dict[str, Any]:
    """An error for another process."""
    place = {"file": getattr(fault, "file", ""), "line": getattr(fault, "line", 0)}
    return {"code": fault.code, "cause": fault.cause, "fix": fault.fix, **place}


class _OverTime(BaseException):
    """The processor time of a check is used up."""


def main() -> None:
    """Answer questions on standard input until it ends."""
    from mmo.cli.sources import import_game
    from mmo.config.load import load_config

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks ends this process by closing its input
    file = sys.argv[1] if len(sys.argv) > 1 else ""
    failure: OperatorError | None = None
    try:
        _import_frozen()
        import_game(load_config(Path(file) if file else None).config)
    except OperatorError as fault:
        failure = fault
    past = Past()
    waiting: Fork | None = None
    with os.fdopen(0, "rb", buffering=0) as questions:
        while True:
            if waiting is None and past.good is not None and _is_silent(questions):
                waiting = Fork(past)
            raw = _framed(questions.fileno())
            if not raw:
                break
            waiting, fork = None, waiting or Fork(past)
            answer = told(failure) if failure is not None else _answer(past, fork, raw)
            past.clean.update(answer.pop("clean", ()))
            _write(1, _pack(answer))
            if "rules" in answer:
                past.good = _remember(*_unpack(raw)[:2])
    if waiting is not None:
        waiting.end()


def _is_silent(questions: Any) -> bool:
    return not select.select([questions], [], [], WARM_AFTER_S)[0]


def _framed(descriptor: int) -> bytes:
    """One message with its length before it; empty at the end."""
    length = _exactly(descriptor, LENGTH_BYTES)
    return _exactly(descriptor, int.from_bytes(length, "little")) if length else b""


def _exactly(descriptor: int, count: int) -> bytes:
    parts: list[bytes] = []
    while count and (part := os.read(descriptor, count)):
        parts.append(part)
        count -= len(part)
    return b"" if count else b"".join(parts)


def _write(descriptor: int, raw: bytes) -> None:
    left = memoryview(len(raw).to_bytes(LENGTH_BYTES, "little") + raw)
    while left:
        left = left[os.write(descriptor, left) :]


def _import_frozen() -> None:
    """What hot modules import, so that no fork does it again."""
    import mmo.state
    import mmo.wire.messages
    from mmo.node import checking  # noqa: F401

    for package in (mmo.state, mmo.wire.messages):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(found.name)


class Past:
    """What forks inherit: hashes of texts without hazards, and the last sources that passed."""

    def __init__(self) -> None:
        self.clean: set[str] = set()
        self.good: Bundle | None = None
        self.check_ms = 0


def _remember(packed: bytes, digest: str) -> "Bundle":
    """Compile and read what was found good; forks inherit it. Nothing of it runs here."""
    from mmo.node.bundle import Bundle
    from mmo.node.generation import compile_hot, content_of

    bundle = Bundle.unpacked(packed, digest)
    for path, text in bundle.files.items():
        if path.endswith(".py"):
            compile_hot(bundle, path, text)
    content_of(bundle)
    return bundle


class Fork:
    """A child that waits for one question. With a past it knows what passed last by heart."""

    def __init__(self, past: Past) -> None:
        asked, self._asking = os.pipe()
        self._answered, answering = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._asking)
            os.close(self._answered)
            _in_child(asked, answering, past)
        os.close(asked)
        os.close(answering)

    def ask(self, raw: bytes, until_s: float) -> tuple[bytes, int]:
        """Its answer, empty for none, and how it ended."""
        with contextlib.suppress(BrokenPipeError):
            _write(self._asking, raw)
        os.close(self._asking)
        answer = _read_all(self._answered, until_s)
        if not answer:
            os.kill(self.pid, signal.SIGKILL)
        return answer, os.waitpid(self.pid, 0)[1]

    def end(self) -> None:
        """Nobody asks it any more."""
        os.close(self._asking)
        os.close(self._answered)
        os.waitpid(self.pid, 0)


def _answer(past: Past, fork: Fork, question: bytes) -> dict[str, Any]:
    _, _, check_ms, _ = _unpack(question)
    past.check_ms = check_ms
    raw, status = fork.ask(question, time.monotonic() + WALL_TIMES * check_ms / 1_000 + WALL_S)
    if raw:
        answer: dict[str, Any] = _unpack(raw)
        return answer
    ended = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"code {status >> 8}"
    cause = f"the check neither ended nor answered within its limits ({ended})"
    return {"code": "E0413", "cause": cause, "fix": "look for an endless loop at import"}


def _read_all(descriptor: int, until_s: float) -> bytes:
    parts: list[bytes] = []
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        while (left_s := until_s - time.monotonic()) > 0:
            if not select.select([file], [], [], left_s)[0]:
                break
            part = file.read(65_536)
            if not part:
                return b"".join(parts)
            parts.append(part)
    return b""


def _in_child(asked: int, answering: int, past: Past) -> None:
    """The fork: limits, checks, answer, end. Never returns."""
    from mmo.config import ROLES
    from mmo.node import checking
    from mmo.node.bundle import Bundle
    from mmo.node.code_faults import import_fault

    check_ms, bundle = past.check_ms, Bundle({}, {})
    try:
        if past.good is not None:
            _limit_time(check_ms)  # it passed before
            checking.run_through(past.good, ROLES, EDGES)
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        raw = _framed(asked)
        if not raw:
            os._exit(0)
        packed, digest, check_ms, bytes_max = _unpack(raw)
        _limit_time(check_ms)
        _limit_memory(check_ms, bytes_max)
        bundle = Bundle.unpacked(packed, digest)
        known: set[str] = set(past.clean)
        checking.read_through(bundle, known)
        rules = checking.run_through(bundle, ROLES, EDGES, past.good)
        answer: dict[str, Any] = {"rules": rules, "clean": list(known - past.clean)}
    except OperatorError as fault:
        answer = told(fault)
    except BaseException as fault:
        late = isinstance(fault, _OverTime)
        why = f"still busy after {check_ms} ms of processor time" if late else ""
        code = "E0413" if late else "E0412"
        answer = told(import_fault(bundle, "the new code", fault, code, why))
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    os.write(answering, _pack(answer))
    os._exit(0)


def _limit_time(check_ms: int) -> None:
    def over(number: int, frame: FrameType | None) -> None:
        raise _OverTime

    signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, check_ms / 1_000)


def _limit_memory(check_ms: int, bytes_max: int) -> None:
    """And the processor time of code in C, which the timer does not interrupt."""
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + bytes_max, used + bytes_max))
    spent = resource.getrusage(resource.RUSAGE_SELF)
    whole_s = check_ms // 1_000 + 3 + int(spent.ru_utime + spent.ru_stime)
    resource.setrlimit(resource.RLIMIT_CPU, (whole_s, whole_s))


if __name__ == "__main__":
    main()
