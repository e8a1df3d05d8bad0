"""`config` and `check`: the effective configuration, and whether all would start, without starting.

Owns the print and the order of the checks. Called by the operator.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmo.cli import terminal
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, load
from mmo.cli.rim import FAILED, OK

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
    """Every effective value. Secrets are files; only their paths are printed."""
    from mmo.config.load import redacted

    values = redacted(load(config, home))
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
        ("content", lambda: _check_content(load(config, home).config)),
        ("handlers", lambda: _check_handlers(load(config, home).config)),
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
    loaded = load(config, home)
    for entry in loaded.config.nodes:
        loaded.for_node(entry)
    return f"{len(loaded.origins)} values, {len(loaded.config.nodes)} nodes"


def _check_content(config: "Config") -> str:
    from mmo.content.tables import load_content

    load_content(config.cluster.content_directory)
    return "tables agree"


def _check_handlers(config: "Config") -> str:
    from mmo.cli.compose import node_settings
    from mmo.cli.roles import ROLE_NAMES, load_role
    from mmo.cluster.home import NodePorts
    from mmo.content.tables import load_content
    from mmo.node.node import compose

    content = load_content(config.cluster.content_directory)
    for number, name in enumerate(ROLE_NAMES, start=1):
        ports = NodePorts(f"{name}-{number}", name, number, 0, 0, 0)
        nowhere: Any = None  # the table is built from the role alone; no store, no log is used
        compose(
            node_settings(config, ports, ""),
            load_role(name),
            nowhere,
            content,
            log=nowhere,
            systems_package="mmo.systems",
            edges_package="mmo.edges",
        )
    return f"{len(ROLE_NAMES)} roles"


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
