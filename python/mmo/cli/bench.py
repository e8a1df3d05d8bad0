"""`bench`: a published workload beside its limit, measured now on this machine, or beside its aim.

Owns the options and the print; the benches are `mmo.proof.bench`. Called by the operator and by
scripts, which rely on the form of `--json` and on the exit code: 0 when every check held, 1 when a
figure is wrong; an aim that is missed is shown and is not a failure.
"""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mmo.cli import terminal
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, refuse_config
from mmo.cli.rim import FAILED, OK

if TYPE_CHECKING:
    from mmo.proof.bench_result import BenchResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bench)


def bench(
    name: Annotated[str | None, typer.Argument(help="One of --list, or all.")] = None,
    names: Annotated[bool, typer.Option("--list", help="List the benches.")] = False,
    length: Annotated[str, typer.Option("--for", help="Measured time, such as 20s.")] = "20s",
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Measure one workload beside its limit, in rotating rounds where both repeat, or its aim."""
    from mmo.cli.durations import seconds_of
    from mmo.proof.bench import benches, describe, run

    refuse_config(config)
    known = benches()
    if names:
        rows = [(known_name, describe(known_name)) for known_name in known]
        if json:
            terminal.print_json(dict(rows))
        else:
            terminal.print_table(("bench", "measures"), rows)
        return OK
    if name is None or (name != "all" and name not in known):
        raise typer.BadParameter(f"no bench {name!r}; there are {', '.join(known)} and all")
    code = OK
    for one in list(known) if name == "all" else [name]:
        result = run(one, seconds_of(length), home, report)
        report("")
        if json:
            terminal.print_json(result.as_json())
        else:
            show(result)
        code = max(code, OK if result.held else FAILED)
    return code


def report(text: str) -> None:
    """One line of progress that the next one overwrites; only for a person."""
    if sys.stderr.isatty():
        print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)


def show(result: "BenchResult") -> None:
    """The figure, its limit, its aims and its checks."""
    print(f"{result.name}  ({result.unit})")
    limit = f"{result.limit_absolute:,.4g} {result.limit_unit}".rstrip()
    rows = [("ours", f"{result.ours:,.4g}"), (result.limit, limit)]
    rows.append(("ratio", f"{result.ratio:,.4g}"))
    if result.p50_ms is not None and result.p99_ms is not None:
        of = f"latency of {result.times_of}" if result.times_of else "latency"
        rows.append((of, f"p50 {result.p50_ms:.3f} ms   p99 {result.p99_ms:.3f} ms"))
    for key, value in result.more.items():
        rows += flat(key, value)
    rows += [
        (f"aim  {aim.name}", f"{aim.found:,.4g}  ({'met' if aim.met else 'missed'}: {aim.aim:,g})")
        for aim in result.aims
    ]
    rows += [
        (f"check  {check.name}", f"{'held' if check.held else 'FAILED'}  {check.found}".rstrip())
        for check in result.checks
    ]
    terminal.print_table(("", ""), rows)


def flat(key: str, value: object) -> list[tuple[str, str]]:
    """Rows of a nested figure."""
    if not isinstance(value, dict):
        text = f"{value:,.4g}" if isinstance(value, float) else str(value)
        return [(key, text)]
    if all(not isinstance(inner, dict) for inner in value.values()):
        return [(key, "  ".join(f"{name} {inner}" for name, inner in value.items()))]
    return [row for name, inner in value.items() for row in flat(f"{key} {name}", inner)]
