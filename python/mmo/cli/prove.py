"""`prove`: one promise of the product, run end to end with its faults.

Owns the options and the print; the proofs are `mmo.proof.proofs`. Called by the operator and by
scripts, which rely on the form of `--json` and on the exit code.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from mmo.cli import terminal
from mmo.cli.options import ConfigOption, JsonOption, refuse_config
from mmo.cli.rim import FAILED, OK


def register(app: typer.Typer) -> None:
    """Add the command to the table."""
    app.command()(prove)


def prove(
    name: Annotated[str | None, typer.Argument(help="One of --list, or all.")] = None,
    names: Annotated[bool, typer.Option("--list", help="List the proofs.")] = False,
    short: Annotated[bool, typer.Option("--short", help="The quick form.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Keep the raw JSON here.")] = None,
    home: Annotated[
        Path | None, typer.Option("--home", help="A running cluster instead of one of its own.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="How many, for `simulation`.")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Run one promise end to end, faults included; fails when it does not hold."""
    from mmo.proof.proofs import proofs

    refuse_config(config)
    known = proofs()
    if names:
        if json:
            terminal.print_json({proof.name: proof.promise for proof in known.values()})
        else:
            rows = [(proof.name, proof.promise) for proof in known.values()]
            terminal.print_table(("proof", "promise"), rows)
        return OK
    if name is None or (name != "all" and name not in known):
        raise typer.BadParameter(f"no proof {name!r}; there are {', '.join(known)} and all")
    if seeds is not None:
        os.environ["MMO_SEEDS"] = str(seeds)
    chosen = list(known) if name == "all" else [name]
    return max(_prove_one(one, short, out, home, json) for one in chosen)


def _prove_one(name: str, short: bool, out: Path | None, home: Path | None, json: bool) -> int:
    import asyncio

    import msgspec
    import uvloop

    from mmo.proof.proofs import proofs
    from mmo.proof.proofs import prove as run

    def say(text: str) -> None:
        print(f"  {text}", file=sys.stderr if json else sys.stdout, flush=True)

    proof = proofs()[name]
    say(f"{proof.name}: {proof.promise}")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        verdict = runner.run(run(proof, home=home, short=short, say=say, out=out))
    if json:
        terminal.print_json(msgspec.to_builtins(verdict))
    else:
        figures = "  ".join(f"{key} {value}" for key, value in verdict.figures.items())
        print(f"  {figures}\n  {verdict.name}: {'holds' if verdict.held else 'DOES NOT HOLD'}")
    return OK if verdict.held else FAILED
