"""Which process listens on a port of this machine, for messages to an operator.

Owns the reading of the kernel's tables. Sees the processes of this user, as any program does.
Called where a port is taken.
"""

import contextlib
import os
from pathlib import Path

_LISTENS = "0A"  # TCP_LISTEN; a datagram socket has no such state
_ADDRESS, _STATE, _INODE = 1, 3, 9


def who_listens(port: int, *, datagrams: bool = False) -> str:
    """Such as `process 812 (redis-server)`; `another process` where nothing more can be seen."""
    wanted = {f"socket:[{inode}]" for inode in _inodes(port, datagrams)}
    if not wanted:
        return "another process"
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal() and _holds(directory, wanted):
            return f"process {directory.name} ({_command(directory)})"
    return "a process of another user"


def _inodes(port: int, datagrams: bool) -> set[str]:
    found: set[str] = set()
    for table in ("udp", "udp6") if datagrams else ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in (line.split() for line in lines):
            is_ours = int(fields[_ADDRESS].rpartition(":")[2], 16) == port
            if is_ours and (datagrams or fields[_STATE] == _LISTENS):
                found.add(fields[_INODE])
    return found


def _holds(directory: Path, wanted: set[str]) -> bool:
    try:
        with os.scandir(directory / "fd") as entries:
            paths = [entry.path for entry in entries]
    except OSError:
        return False  # it ended, or is another user's
    for path in paths:
        with contextlib.suppress(OSError):  # closed by now
            if os.readlink(path) in wanted:
                return True
    return False


def _command(directory: Path) -> str:
    try:
        return (directory / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "ended"
