"""The table of figures in the README, made from the kept results of the benches.

Owns the form of the table. Measures nothing: `mmo-cluster bench NAME --json` does, and what it
printed is kept as `docs/results/bench-NAME.json`. `python -m tests.house.figures` writes the table
anew; a house test compares.
"""

import json
from typing import Any

from tests.house.tree import ROOT

README = ROOT / "README.md"
RESULTS = ROOT / "docs" / "results"
BEGIN, END = "<!-- figures begin -->\n", "<!-- figures end -->\n"
HEAD = (
    "| bench | ours | limit, measured beside it | ratio | aims |\n| --- | --- | --- | --- | --- |\n"
)


def figure(value: float) -> str:
    """Four digits at most, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def row(result: dict[str, Any]) -> str:
    """One line of the table."""
    aims = "; ".join(
        f"{aim['name']}: {figure(aim['found'])} ({'met' if aim['met'] else 'missed'},"
        f" aim {figure(aim['aim'])})"
        for aim in result["more"].get("aims", [])
    )
    unit = result["unit"]
    return (
        f"| `{result['name']}` | {figure(result['ours'])} {unit} |"
        f" {result['limit']}: {figure(result['limit_absolute'])} {unit} |"
        f" {figure(result['ratio'])} | {aims} |\n"
    )


def kept() -> list[dict[str, Any]]:
    """The kept results by name."""
    files = sorted(RESULTS.glob("bench-*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def table() -> str:
    """The whole table; nothing where nothing was measured yet."""
    rows = [row(result) for result in kept()]
    return HEAD + "".join(rows) if rows else ""


def with_table(text: str) -> str:
    """The README with the table in its place."""
    head, rest = text.split(BEGIN, 1)
    return head + BEGIN + table() + END + rest.split(END, 1)[1]


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
