"""Rust sources without their comments, texts and test modules.

Owns a small scanner, enough for the house rules: it blanks what is not code, keeps every line where
it was, and finds functions by their braces. Never parses Rust. Called by the Rust house tests.
"""

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<line>//[^\n]*)
      | (?P<block>/\*.*?\*/)
      | (?P<raw>\bb?r(?P<hashes>\#*)".*?"(?P=hashes))
      | (?P<text>b?"(?:\\.|[^"\\])*")
      | (?P<char>b?'(?:\\(?:x[0-9a-fA-F]{2}|u\{[0-9a-fA-F_]+\}|.)|[^'\\\n])')""",
    re.VERBOSE | re.DOTALL,
)
_FUNCTION = re.compile(r"\bfn\s+(?P<name>[A-Za-z_]\w*)")
_TEST_MODULE = re.compile(r"#\[cfg\((?:all\()?(?:test|loom)\b[^\]]*\]\s*(?:pub\s+)?mod\s+\w+\s*\{")


@dataclass(frozen=True)
class Function:
    """One function with a body: its name, first line (from 1) and number of lines."""

    name: str
    line: int
    lines: int


def blanked(text: str) -> str:
    """The code alone: comments and the insides of texts become spaces, line ends stay."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match.group())

    return _TOKEN.sub(blank, text)


def without_tests(code: str) -> str:
    """Blanked code whose `#[cfg(test)]` and `#[cfg(loom)]` modules are blank as well."""
    while match := _TEST_MODULE.search(code):
        end = _closing(code, match.end() - 1)
        code = code[: match.start()] + re.sub(r"[^\n]", " ", code[match.start() : end]) + code[end:]
    return code


def only_tests(code: str) -> str:
    """Blanked code of which nothing but the test modules is left."""
    rest = without_tests(code)
    return "".join(
        one if one == "\n" or one != other else " " for one, other in zip(code, rest, strict=True)
    )


def functions(code: str) -> list[Function]:
    """Every function with a body in blanked code."""
    found = []
    for match in _FUNCTION.finditer(code):
        opening = _body(code, match.end())
        if opening is None:
            continue
        first = code.count("\n", 0, match.start()) + 1
        last = code.count("\n", 0, _closing(code, opening)) + 1
        found.append(Function(match["name"], first, last - first + 1))
    return found


def _body(code: str, start: int) -> int | None:
    depth = 0
    for place in range(start, len(code)):
        sign = code[place]
        if sign in "([":
            depth += 1
        elif sign in ")]":
            depth -= 1
        elif sign == "{" and depth == 0:
            return place
        elif sign == ";" and depth == 0:
            return None
    return None


def _closing(code: str, opening: int) -> int:
    depth = 0
    for place in range(opening, len(code)):
        if code[place] == "{":
            depth += 1
        elif code[place] == "}":
            depth -= 1
            if depth == 0:
                return place + 1
    return len(code)
