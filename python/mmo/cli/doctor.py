"""`doctor`: what of this machine and this home would make a cluster fail or crawl.

Owns the list of checks; each is a function of the configuration and the home that returns what it
saw. Mends nothing by itself. Called by the operator.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import typer

from mmo.cli import terminal
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption
from mmo.cli.rim import FAILED, OK

if TYPE_CHECKING:
    from mmo.cli.doctor_checks import Finding

Verdict = Literal["ok", "warning", "failed"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(doctor)


def doctor(home: HomeOption = HOME, config: ConfigOption = None, json: JsonOption = False) -> int:
    """Look at Python, the core, limits, ports, servers, disk, memory, clock, secrets, schema."""
    rows: list[dict[str, Any]] = []
    for name, finding in _findings(home, config):
        rows.append(
            {"name": name, "verdict": finding.verdict, "found": finding.text} | _fix(finding)
        )
    failed = any(row["verdict"] == "failed" for row in rows)
    if json:
        terminal.print_json({"ok": not failed, "checks": rows})
    else:
        table = [(row["verdict"], row["name"], row["found"], row.get("fix", "")) for row in rows]
        terminal.print_table(("", "check", "found", "fix"), table)
    return FAILED if failed else OK


def _findings(home: Any, config: Any) -> Iterator[tuple[str, "Finding"]]:
    from mmo.cli import doctor_checks as checks
    from mmo.cli.options import load
    from mmo.cluster.home import Home
    from mmo.errors import OperatorError

    try:
        loaded = load(config, home)
    except OperatorError as error:
        yield "config", checks.Finding("failed", f"{error.code} {error.cause}", error.fix)
        return
    yield (
        "config",
        checks.Finding(
            "ok", f"{len(loaded.origins)} values, profile {loaded.config.cluster.profile}"
        ),
    )
    place = Home(home)
    all_checks: tuple[tuple[str, Callable[..., checks.Finding]], ...] = checks.CHECKS
    for name, check in all_checks:
        try:
            yield name, check(loaded.config, place)
        except OperatorError as error:
            yield name, checks.Finding("failed", f"{error.code} {error.cause}", error.fix)


def _fix(finding: "Finding") -> dict[str, str]:
    return {"fix": finding.fix} if finding.fix else {}
