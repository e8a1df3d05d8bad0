"""What an operator sees: steps with times, tables, one JSON object.

Owns the choice between a terminal (colour, rich tables) and a pipe (plain columns). Called by the
command groups; imports rich only for a table on a terminal.
"""

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def print_json(value: Any) -> None:
    """One object on one line of standard output. At once: who reads it may be a pipe, and the next
    line of `logs -f` or `trace` may take an hour."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def on_terminal() -> bool:
    """Whether a person looks: colour and progress only then."""
    return sys.stdout.isatty()


def step(name: str, text: str, seconds: float) -> None:
    """One finished step of a start or stop with its time."""
    mark = "\x1b[32m✔\x1b[0m" if on_terminal() else "ok"
    print(f"  {mark} {name:<10} {text:<58} {seconds:5.1f} s", flush=True)


def told_time(unix_ms: int) -> str:
    """A time for the eye, in UTC."""
    return datetime.fromtimestamp(unix_ms // 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def print_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table: with rich on a terminal, plain aligned columns elsewhere."""
    texts = [[str(cell) for cell in row] for row in rows]
    if on_terminal():
        from rich.console import Console

        Console().print(table(heads, rows))
        return
    widths = [max([len(head), *(len(row[i]) for row in texts)]) for i, head in enumerate(heads)]
    for row in [list(heads), *texts]:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> "Table":
    """A table for a person, its telling words coloured."""
    from rich.table import Table

    made = Table(*heads, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        made.add_row(*(_coloured(str(cell)) for cell in row))
    return made


def is_asked() -> bool:
    """Whether somebody sits here who can answer."""
    return sys.stdin.isatty() and on_terminal()


def is_script() -> bool:
    """Whether no terminal is behind standard input: init systems, timers, pipes."""
    return sys.stdin is None or not sys.stdin.isatty()


def sees_questions() -> bool:
    """Whether who started this from a terminal sees a question and can type an answer: a pipe may
    take standard output, but a job in the background is stopped when it reads."""
    shows = any(stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr))
    return not is_script() and shows and _is_in_foreground()


def answer(question: str) -> bool:
    """Whether it was answered with yes. Asked on standard error, for a pipe may take the output."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    try:
        return input("").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def confirm(question: str, yes: bool) -> bool:
    """Whether a destructive act may go on: `--yes`, or an answer typed on a terminal."""
    if yes:
        return True
    if not is_asked():
        return False
    return answer(question)


def _is_in_foreground() -> bool:
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        return True  # not the terminal of this session: nobody stops who reads it


def _coloured(cell: str) -> str:
    from rich.markup import escape

    colour = {"yes": "green", "ready": "green", "ok": "green", "no": "red", "failed": "red"}
    colour |= {"waiting": "yellow", "starting": "yellow", "draining": "yellow", "warning": "yellow"}
    return f"[{colour[cell]}]{cell}[/]" if cell in colour else escape(cell)
