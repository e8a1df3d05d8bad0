"""One child process: spawned with its output in a file, identified, stopped, killed.

Owns the child's handle and the proof that a pid is still the process that was started (pid and
start time together; a pid alone is reused). Never restarts anything. Called by the store servers
and the supervisor.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from mmo.cluster.unwritable import unwritable
from mmo.errors import OperatorError

_PR_SET_PDEATHSIG = 1
KILLED_S = 5.0  # longest wait for the end of a process that was killed
REAPED_S = 10.0  # the same for a child, which the kernel may hold for its disk
_libc = ctypes.CDLL(None, use_errno=True)


def python_module(name: str) -> list[str]:
    """The beginning of a command that runs a module of this package. `-P`: a file of the directory
    that the operator stands in, such as `types.py`, must not take the place of a module."""
    return [sys.executable, "-P", "-m", name]


class ProcessId(msgspec.Struct, frozen=True):
    """A process of this machine for ever: its pid and start time in clock ticks."""

    pid: int
    started: int


def identify(pid: int) -> ProcessId | None:
    """The identity of a living process; None when there is none (a zombie counts as none)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return None
    return ProcessId(pid, int(fields[19]))


def is_alive(process: ProcessId) -> bool:
    """Whether exactly this process still runs."""
    return identify(process.pid) == process


def signal_process(process: ProcessId, number: int) -> bool:
    """Send a signal to exactly this process; False when it is gone."""
    if not is_alive(process):
        return False
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool], deadline_s: float, step_s: float = 0.01) -> bool:
    """Poll until the condition holds; False at the deadline. For what nobody announces."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(step_s)
    return True


def end_process(process: ProcessId, grace_s: float) -> bool:
    """SIGTERM, then SIGKILL after the grace; True when it ended by itself. For processes that are
    not children of this one."""
    if not signal_process(process, signal.SIGTERM):
        return True
    if wait_until(lambda: not is_alive(process), grace_s):
        return True
    signal_process(process, signal.SIGKILL)
    wait_until(lambda: not is_alive(process), KILLED_S)
    return False


class Child:
    """A process that this one started. Its standard output and error go to `log_file`."""

    def __init__(
        self,
        command: Sequence[str],
        log_file: Path,
        *,
        dies_with_parent: bool,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        """Spawn. `dies_with_parent`: killed by the kernel when the thread that spawned it ends, so
        a killed test leaves nothing behind. Raises `OperatorError` E0301 when it cannot be run,
        E0735 when its log cannot be written."""
        try:
            log_file.parent.mkdir(parents=True, exist_ok=True)
            output = log_file.open("ab")
            self._log_begins = output.tell()  # what stands before is of earlier ones
        except OSError as error:
            raise unwritable(log_file, error, "remove it") from error
        with output:
            try:
                self._popen = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=dict(environment) if environment is not None else None,
                    cwd=directory,
                    start_new_session=True,
                    # SIGXFSZ stays ignored: a limit on the size of files (`ulimit -f`) refuses a
                    # write, as a full disk does, where it would else end the process.
                    restore_signals=False,
                    preexec_fn=_die_with_parent if dies_with_parent else None,
                )
            except OSError as error:
                raise OperatorError(
                    "E0301", f"cannot run {command[0]}: {error.strerror}", "mmo-cluster doctor"
                ) from error
        identity = identify(self._popen.pid)
        self.identity = identity or ProcessId(self._popen.pid, 0)
        self.log_file = log_file

    @property
    def pid(self) -> int:
        """Of the child, as long as it is not reaped."""
        return self._popen.pid

    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._popen.poll()

    def is_running(self) -> bool:
        """Whether it did not end yet."""
        return self._popen.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when it is gone."""
        self._popen.send_signal(number)

    def wait(self, deadline_s: float) -> bool:
        """Whether it ended within the deadline."""
        try:
            self._popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, grace_s: float) -> bool:
        """SIGTERM, SIGKILL after the grace. True when it ended by itself."""
        if self.is_running():
            self.signal(signal.SIGTERM)
        if self.wait(grace_s):
            return True
        self.kill()
        return False

    def kill(self) -> None:
        """SIGKILL, and reap it, unless the kernel does not let go of it in time."""
        if self.is_running():
            self.signal(signal.SIGKILL)
        self.wait(REAPED_S)

    def log_tail(self, lines: int = 6) -> str:
        """The last lines of its own output, for an error message."""
        try:
            with self.log_file.open("rb") as file:
                file.seek(self._log_begins)
                text = file.read().decode("utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
