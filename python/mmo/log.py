"""Log lines: one JSON object a line, with the same keys everywhere.

Owns the form (`time`, `level`, `event`, `node`, then `conn`, `user`, `opcode`, `generation` where
they apply), the turning over of files, and the removal of secrets by key. Never decides what is
worth a line. Opened once by each process. No logging library: the usual one imports a terminal
renderer, a tenth of a second of the start of every node; what is said by `logging`, as the store
and the drivers below it do, becomes lines of the same form.
"""

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

SECRET_WORDS = ("password", "token", "secret", "pepper", "key")
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class LogFile:
    """A file that is turned over at a size: `x.jsonl`, then `x.jsonl.1` and so on."""

    def __init__(self, path: str, bytes_max: int, kept: int) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._kept = kept
        self._open()

    def _open(self) -> None:
        self._file: TextIO = open(  # noqa: SIM115
            self._path, "a", encoding="utf-8", errors="backslashreplace", buffering=1
        )
        self._bytes = os.fstat(self._file.fileno()).st_size

    def write(self, line: str) -> None:
        """One line, with its newline. A full disk costs the line, never the process."""
        try:
            if self._file.closed:  # it could not be turned over; perhaps it can now
                self._open()
            self._file.write(line)
            self._bytes += len(line)
            if self._bytes >= self._bytes_max:
                self._turn()
        except OSError:
            pass

    def _turn(self) -> None:
        self._file.close()
        for number in range(self._kept - 1, 0, -1):
            older = f"{self._path}.{number}"
            if os.path.exists(older):
                os.replace(older, f"{self._path}.{number + 1}")
        os.replace(self._path, f"{self._path}.1")
        self._open()


class Log:
    """Writes lines of one process. `bind` makes a log whose lines all carry more keys."""

    __slots__ = ("_bound", "_level", "_write")

    def __init__(self, write: Callable[[str], object], level: int, bound: dict[str, Any]) -> None:
        self._write = write
        self._level = level
        self._bound = bound

    def bind(self, **keys: Any) -> "Log":
        """The same log with `keys` in every line."""
        return Log(self._write, self._level, {**self._bound, **keys})

    def carry(self, **keys: Any) -> None:
        """From now on every line of this very log has `keys`, in place of those of the same
        name."""
        self._bound.update(keys)

    def debug(self, event: str, **keys: Any) -> None:
        """Of use while looking for a fault."""
        self._line("debug", event, keys)

    def info(self, event: str, **keys: Any) -> None:
        """What happened, once each."""
        self._line("info", event, keys)

    def warning(self, event: str, **keys: Any) -> None:
        """Something is away or odd, and is dealt with."""
        self._line("warning", event, keys)

    def error(self, event: str, **keys: Any) -> None:
        """A bug, or something that an operator should look at."""
        self._line("error", event, keys)

    def critical(self, event: str, **keys: Any) -> None:
        """The process ends."""
        self._line("critical", event, keys)

    def _line(self, level: str, event: str, keys: dict[str, Any]) -> None:
        """One JSON object in a fixed order of the first keys."""
        if LEVELS[level] < self._level:
            return
        line: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "event": event,
            **self._bound,
        }
        fault = keys.pop("exc_info", None)
        line.update(without_secrets(keys))
        if fault:
            line["traceback"] = _traceback(fault)
        self._write(json.dumps(line, default=str, ensure_ascii=False) + "\n")


def open_log(
    name: str, *, level: str, path: str = "", bytes_max: int = 0, files_kept: int = 0
) -> Log:
    """A log of the process `name`. Without `path`: standard error. With it: a file turned over at
    `bytes_max`, of which `files_kept` old ones are kept."""
    write: Callable[[str], object] = sys.stderr.write
    if path:
        write = LogFile(path, bytes_max, files_kept).write
    return Log(write, LEVELS[level], {"node": name})


class _Records(logging.Handler):
    """Records of `logging` as lines: of this package all, of libraries from warnings on."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        ours = record.name.startswith("mmo.")
        if not ours and record.levelno < logging.WARNING:
            return
        write = getattr(self._log, record.levelname.lower(), self._log.warning)
        keys = {"exc_info": record.exc_info[1]} if record.exc_info else {}
        write("record", logger=record.name, text=record.getMessage(), **keys)


def collect_records(log: Log) -> None:
    """What this process says by `logging` is written to `log`, event `record`, from now on."""
    logging.basicConfig(handlers=[_Records(log)], level=logging.INFO, force=True)


def without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values; those whose key names a secret are struck out, at any depth."""
    clean: dict[str, Any] = {}
    for key, value in values.items():
        if any(word in key.lower() for word in SECRET_WORDS):
            clean[key] = "***"
        elif isinstance(value, Mapping):
            clean[key] = without_secrets(value)
        else:
            clean[key] = value
    return clean


def _traceback(fault: Any) -> str:
    error = fault if isinstance(fault, BaseException) else sys.exc_info()[1]
    return "" if error is None else "".join(traceback.format_exception(error))
