"""`config` and `check`: the effective configuration, and whether all would start, without starting.

Owns the print and the order of the checks. Called by the operator.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmo.cli import terminal
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, effective_text, load_next
from mmo.cli.rim import FAILED, OK
from mmo.config import ROLES

if TYPE_CHECKING:
    from mmo.config import Config


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(name="config")(show_config)
    app.command()(check)


def show_config(
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
    origin: Annotated[bool, typer.Option("--origin", help="Where each value came from.")] = False,
) -> int:
    """Every value that a start would take now. Secrets are files: only their paths are printed."""
    from mmo.config.load import redacted

    values = redacted(load_next(config, home))
    if json:
        shown: dict[str, Any] = {
            path: {"value": value, "origin": source} if origin else value
            for path, (value, source) in values.items()
        }
        terminal.print_json(shown)
        return OK
    for path, (value, source) in values.items():
        text = f"{path} = {_toml(value)}"
        print(f"{text:<60} # {source}" if origin else text)
    return OK


def check(home: HomeOption = HOME, config: ConfigOption = None, json: JsonOption = False) -> int:
    """Configuration, content and handler tables, without starting anything."""
    from mmo.errors import OperatorError

    results: list[dict[str, Any]] = []
    works: tuple[tuple[str, Callable[[], str]], ...] = (
        ("config", lambda: _check_config(config, home)),
        ("content", lambda: _check_content(load_next(config, home).config)),
        (
            "handlers",
            lambda: _check_code(load_next(config, home).config, effective_text(config, home)),
        ),
        ("schema", _check_schema),
    )
    for name, work in works:
        try:
            results.append({"name": name, "ok": True, "text": work()})
        except OperatorError as error:
            text = f"{error.code} {error.cause}"
            results.append({"name": name, "ok": False, "text": text, "fix": error.fix})
    ok = all(result["ok"] for result in results)
    if json:
        terminal.print_json({"ok": ok, "checks": results})
    else:
        rows = [
            ("ok" if row["ok"] else "failed", row["name"], row["text"], row.get("fix", ""))
            for row in results
        ]
        terminal.print_table(("", "check", "found", "fix"), rows)
    return OK if ok else FAILED


def _check_config(config: Any, home: Any) -> str:
    loaded = load_next(config, home)
    for entry in loaded.config.nodes:
        loaded.for_node(entry)
    return f"{len(loaded.origins)} values, {len(loaded.config.nodes)} nodes"


def _check_content(config: "Config") -> str:
    from mmo.cli.sources import read_tables

    read_tables(config)
    return "tables agree"


def _check_code(config: "Config", config_file: str) -> str:
    """As a reload does: in a process of its own, where an endless loop hurts nobody."""
    import asyncio

    from mmo.cli.checker import Checked, Checker
    from mmo.cli.sources import read_sources

    bundle = read_sources(config).bundle
    checker = Checker(config_file, config.reload.check_ms, config.reload.check_bytes_max)

    async def run() -> Checked:
        try:
            return await checker.check(bundle.packed, bundle.digest)
        finally:
            await checker.close()

    return f"{asyncio.run(run()).rules} rules in {len(ROLES)} roles"


def _check_schema() -> str:
    from mmo.store import migrate

    return f"{len(migrate.steps())} statements in the files"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        return "[" + ", ".join(f"{item['name']}:{item['number']}" for item in value) + "]"
    return str(value)
