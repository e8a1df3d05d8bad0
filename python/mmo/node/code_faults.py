"""How a fault in hot code is told: file, line, the line itself and a caret under the place.

Owns the form of these messages. Never runs anything. Used where a generation is built or checked.
"""

import linecache
import re
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

from mmo.errors import ContentError, OperatorError
from mmo.node.bundle import TABLES, Bundle
from mmo.node.hazards import Hazard
from mmo.node.modules import MARK, PREFIX, is_hot

NOTHING_CHANGED = "mend it and save again; the running generation was not touched"


class CodeError(OperatorError):
    """A fault with a place in the sources. `line` from 1; 0: no line is known."""

    def __init__(self, code: str, file: str, line: int, cause: str) -> None:
        super().__init__(code, cause, NOTHING_CHANGED)
        self.file = file
        self.line = line


def syntax_fault(path: str, text: str, fault: SyntaxError | ValueError) -> CodeError:
    """E0428: a text that does not parse."""
    line = getattr(fault, "lineno", None) or 1
    first = max(0, (getattr(fault, "offset", None) or 1) - 1)
    end = getattr(fault, "end_offset", None) or first + 2
    same_line = getattr(fault, "end_lineno", line) == line
    why = getattr(fault, "msg", None) or str(fault)
    return _placed("E0428", path, text, line, first, end - 1 if same_line else first + 1, why)


def hazard_fault(path: str, text: str, hazards: list[Hazard]) -> CodeError:
    """E0411: what the text must not do; the first place is shown, the others are named."""
    first, rest = hazards[0], hazards[1:]
    fault = _placed("E0411", path, text, first.line, first.column, 0, first.text)
    more = "".join(f"\n       also       {path}:{one.line}  {one.text}" for one in rest[:9])
    return CodeError(fault.code, path, first.line, fault.cause + more)


def import_fault(
    bundle: Bundle, name: str, fault: BaseException, code: str = "E0412", why: str = ""
) -> OperatorError:
    """E0412: a module raised while it was imported; an operator's error stays what it is."""
    if isinstance(fault, OperatorError):
        return fault
    place = _last_hot(fault.__traceback__)
    why = why or "".join(traceback.format_exception_only(fault)).strip()
    why = re.sub(rf"{PREFIX}\d+_\d+\.", "", why)
    if isinstance(fault, SyntaxError) and fault.filename and is_hot(fault.filename):
        path = fault.filename.partition(MARK)[0]
        return syntax_fault(path, bundle.files.get(path, ""), fault)
    if place is None:
        return CodeError(code, name, 0, f"{name}: {why}")
    path, line, first, end = place
    return _placed(code, path, bundle.files.get(path, ""), line, first, end, why)


def function_fault(function: Callable[..., Any], fault: OperatorError) -> OperatorError:
    """A fault of a hot function with the place of the function; of any other as it is."""
    code = getattr(function, "__code__", None)
    if code is None or not is_hot(code.co_filename):
        return fault
    lines = linecache.getlines(code.co_filename, function.__globals__)
    first = code.co_firstlineno  # the first decorator
    line = next(
        (n for n in range(first, len(lines) + 1) if lines[n - 1].lstrip().startswith("def ")), first
    )
    path = code.co_filename.partition(MARK)[0]
    placed = _placed(fault.code, path, "".join(lines), line, 0, 1 << 16, fault.cause)
    placed.fix = fault.fix or placed.fix
    return placed


def table_fault(bundle: Bundle, fault: ContentError) -> OperatorError:
    """A fault of a data file with the line where its row begins."""
    file, _, why = fault.cause.partition(": ")
    path = f"{TABLES}/{file}"
    text = bundle.files.get(path)
    if text is None:
        return fault
    at = re.search(r"at line (\d+), column (\d+)", why)
    line, column = (int(at[1]), int(at[2]) - 1) if at else (_line_of(text, why), 0)
    placed = _placed(fault.code, path, text, line, column, column + 1 if at else 1 << 16, why)
    placed.fix = fault.fix
    return placed


def _line_of(text: str, why: str) -> int:
    """The line of `monster[1].drops[0]`, of `$.monster[1].exp`, or of the key that `why` begins
    with; 1 when it cannot be told."""
    lines = text.splitlines()
    named = re.search(r"\$\.([\w\[\].]+)", why) or re.match(r"([\w\[\].]+)", why)
    at = 0
    for name, number in re.findall(r"(\w+)(?:\[(\d+)\])?", named[1] if named else ""):
        header = re.compile(rf"\s*\[\[(?:[\w.]+\.)?{name}\]\]|\s*{name}\s*=")
        found = [n for n in range(at, len(lines)) if header.match(lines[n])]
        if not found:
            break
        at = found[min(int(number or 0), len(found) - 1)]
    return at + 1


def where_raised(fault: BaseException) -> tuple[str, int]:
    """Path and line of the innermost hot frame of a fault; ("", 0): none was hot."""
    place = _last_hot(fault.__traceback__)
    return (place[0], place[1]) if place is not None else ("", 0)


def _last_hot(trace: TracebackType | None) -> tuple[str, int, int, int] | None:
    found = None
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if is_hot(name):
            positions = list(trace.tb_frame.f_code.co_positions())
            line, _, first, end = positions[trace.tb_lasti // 2]
            same = line == trace.tb_lineno
            columns = (first or 0, end or 0) if same else (0, 0)
            found = (name.partition(MARK)[0], trace.tb_lineno, *columns)
        trace = trace.tb_next
    return found


def _placed(
    code: str, path: str, text: str, line: int, first: int, end: int, why: str
) -> CodeError:
    lines = text.splitlines()
    source = lines[line - 1] if 0 < line <= len(lines) else ""
    indent = len(source) - len(source.lstrip())
    at = min(max(first, indent), len(source))
    width = max(1, min(end, len(source)) - at)
    shown = source.replace("\t", " ")
    cause = (
        f"{path}:{line}:{at + 1}  {why}\n"
        f"       {line:>6} | {shown}\n"
        f"       {'':>6} | {' ' * at}{'^' * width}"
    )
    return CodeError(code, path, line, cause)
