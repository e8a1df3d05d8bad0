"""`doctor`: what of this machine and this home would make a cluster fail or crawl.

Owns the print; each check is a function of the configuration and the home that returns what it
saw. Mends nothing by itself. Called by the operator.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from mmo.cli import terminal
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption
from mmo.cli.rim import FAILED, OK

if TYPE_CHECKING:
    from mmo.cli.doctor_checks import Finding


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(doctor)


def doctor(home: HomeOption = HOME, config: ConfigOption = None, json: JsonOption = False) -> int:
    """Look at Python, the core, limits, ports, servers, disk, memory, clock, secrets, schema, and
    at the nodes, links and figures of a cluster that runs."""
    rows: list[dict[str, Any]] = []
    for name, code, finding in _findings(home, config):
        row = {"name": name, "code": code, "verdict": finding.verdict, "found": finding.text}
        rows.append(row | ({"fix": finding.fix} if finding.fix else {}))
    failed = any(row["verdict"] == "failed" for row in rows)
    if json:
        terminal.print_json({"ok": not failed, "checks": rows})
    else:
        heads = ("", "code", "check", "found", "fix")
        table = [(*(row[key] for key in _COLUMNS), row.get("fix", "")) for row in rows]
        terminal.print_table(heads, table)
    return FAILED if failed else OK


_COLUMNS = ("verdict", "code", "name", "found")


def _findings(home: Any, config: Any) -> Iterator[tuple[str, str, "Finding"]]:
    """Each check by name and code. What a check raises says more than its own code does."""
    from mmo.cli.doctor_checks import Finding
    from mmo.cli.doctor_list import CHECKS
    from mmo.cli.options import load
    from mmo.cluster.home import Home
    from mmo.errors import OperatorError, StoreError

    try:
        loaded = load(config, home)
    except OperatorError as error:
        yield "config", error.code, Finding("failed", error.cause, error.fix)
        return
    told = f"{len(loaded.origins)} values, profile {loaded.config.cluster.profile}"
    yield "config", "E0800", Finding("ok", told)
    place = Home(home)
    for name, code, check in CHECKS:
        try:
            yield name, code, check(loaded.config, place)
        except OperatorError as error:
            yield name, error.code, Finding("failed", error.cause, error.fix)
        except StoreError as error:
            yield name, "E0214", Finding("failed", f"no answer: {error}", "mmo-cluster status")
        except Exception as error:
            # What breaks one look is a finding like any other: the rest of the table may say why.
            text = f"the check itself failed: {type(error).__name__}: {error}"
            yield name, code, Finding("failed", text, f"mmo-cluster explain {code}")
