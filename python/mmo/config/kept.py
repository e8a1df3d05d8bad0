"""The copy of an operator's file that a running cluster goes by.

Owns its text: TOML that reads as the file did, wherever it lies. Holds neither the defaults, which
are those of the program that runs, nor the environment. Called by the supervisor's composition.
"""

import json
import re
from typing import Any

from mmo.config.load import Loaded, Tree

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def kept_text(loaded: Loaded, file: str) -> str:
    """What the file said when it was loaded. `file`: its name; empty for none."""
    from_where = _value(file) if file else "no file"
    lines = [
        f"# {from_where} as it was at the start: what runs goes by this copy until the next one"
    ]
    sections = {key: value for key, value in loaded.overlay.items() if isinstance(value, dict)}
    lines += _lines({key: loaded.overlay[key] for key in loaded.overlay if key not in sections})
    for name, section in sections.items():
        lines += ["", f"[{_key(name)}]", *_lines(section)]
    return "\n".join(lines) + "\n"


def _lines(table: Tree) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in table.items()]


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    """A value of the configuration on one line."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{" + ", ".join(_lines(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value)
