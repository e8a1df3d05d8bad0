"""Log lines: one JSON object a line, with the same keys everywhere.

Owns the form (`time`, `level`, `event`, `node`, then `conn`, `user`, `opcode`, `generation` where
they apply), the turning over of files, and the removal of secrets by key. Never decides what is
worth a line. Opened once by each process.
"""

import json
import os
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog

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
        self._file: TextIO = open(self._path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115
        self._bytes = os.path.getsize(self._path)

    def write(self, line: str) -> None:
        """One line, with its newline. A full disk costs the line, never the process."""
        try:
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


class _Lines:
    """What structlog writes to: a whole line a call."""

    def __init__(self, write: Any) -> None:
        self._write = write

    def msg(self, line: str) -> None:
        self._write(line + "\n")

    log = debug = info = warning = error = critical = exception = msg


def open_log(
    name: str, *, level: str, path: str = "", bytes_max: int = 0, files_kept: int = 0
) -> Any:
    """A logger for the process `name`. Without `path`: standard error. With it: a file turned over
    at `bytes_max`, of which `files_kept` old ones are kept."""
    write = LogFile(path, bytes_max, files_kept).write if path else sys.stderr.write
    logger = structlog.wrap_logger(
        _Lines(write),
        processors=[_render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    return logger.bind(node=name)


def _render(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    """One JSON object in a fixed order of the first keys."""
    line: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": method,
        "event": event.pop("event", ""),
        "node": event.pop("node", ""),
    }
    fault = event.pop("exc_info", None)
    line.update(without_secrets(event))
    if fault:
        line["traceback"] = _traceback(fault)
    return json.dumps(line, default=str, ensure_ascii=False)


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
