"""Lengths of time as they are typed: `30s`, `2m`, `500ms`, `1h`, `90d`. Owns that one form."""

import re

import typer

_FORM = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, None: 1.0}


def seconds_of(text: str, *, unit_needed: bool = False) -> float:
    """Seconds in `text`; a bare number is seconds, unless `unit_needed`: for what cannot be undone
    a forgotten unit is no harmless slip. Raises a usage error for anything else."""
    match = _FORM.match(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no length of time, such as 30s, 2m or 500ms")
    if unit_needed and match[2] is None:
        raise typer.BadParameter(f"{text!r} has no unit, such as {match[1]}d or {match[1]}h")
    return float(match[1]) * _SECONDS[match[2]]
