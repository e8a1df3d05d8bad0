"""The tables of figures in README and docs, made from the kept results of benches, proofs and load
tests.

Owns the form of the tables and the list of what was measured when and where. Measures nothing:
`mmo-cluster bench NAME --json`, `mmo-cluster prove NAME --out DIR` and `make load` do, and what
they wrote is kept in `docs/results`. `python -m tests.house.figures` writes all tables anew; a
house test compares.
"""

import hashlib
import json
import platform
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.house.older import OLDER, SAID_LATER
from tests.house.tree import ROOT

from mmo.proof.bench import benches
from mmo.proof.bench_raid import GENERATOR, limit_of
from mmo.proof.origin import machine as this_machine
from mmo.proof.proofs import proofs

README = ROOT / "README.md"
PERFORMANCE = ROOT / "docs" / "PERFORMANCE.md"
RELIABILITY = ROOT / "docs" / "RELIABILITY.md"
RESULTS = ROOT / "docs" / "results"
MADE = RESULTS / "made.toml"
TRIED_MAX = 8
"""Lines of a proof that are repeated in its table; all are in its raw file."""
ORIGIN = ("code", "arguments", "python", "day", "machine")
IN_TABLE = ("checks", "findings_total", "took_s", *ORIGIN)
"""Figures of every proof, which the table of all proofs has."""
CODE_SHOWN = 8
"""Digits of the code's digest that a table shows; all are in the raw file."""
HEAD = (
    "| bench | ours | limit, measured in the same run, or aim | ratio | aims |\n"
    "| --- | --- | --- | --- | --- |\n"
)
BENCH_HEAD = (
    "| command | figure | p50, p99 ms | limit, measured in the same run, or aim | ratio | made "
    "| raw |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
)
LOAD_HEAD = (
    "| command | users | answers | a second | errors | p50, p99 ms | ghosts | money drift "
    "| gates | made | raw |\n" + "| --- " * 11 + "|\n"
)
ACTION_HEAD = "| action | count | p50 ms | p95 ms | p99 ms |\n| --- | --- | --- | --- | --- |\n"
GENERATOR_HEAD = (
    "| bench | messages a second | lag p50, p99, longest ms | held | busy |\n"
    "| --- | --- | --- | --- | --- |\n"
)
OPEN_LOOPS = ("loopback", "seam", "handler", "economy")
"""Benches whose latency is taken at a fixed rate, by the generator of `rust/bench`."""
FUZZ_HEAD = (
    "| target | executions | seconds | edges | kept inputs | failures |\n" + "| --- " * 6 + "|\n"
)
PROOF_HEAD = "| command | holds | checks | took | made | raw |\n" + "| --- " * 6 + "|\n"


def figure(value: float) -> str:
    """Four digits at most, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def row(result: dict[str, Any]) -> str:
    """One line of the README's table."""
    aims = "; ".join(
        f"{aim['name']}: {figure(aim['found'])} ({'met' if aim['met'] else 'missed'},"
        f" aim {figure(aim['aim'])})"
        for aim in result["more"].get("aims", [])
    )
    unit = result["unit"]
    of_limit = said(result, "limit_unit") or unit
    return (
        f"| `{result['name']}` | {figure(result['ours'])} {unit} |"
        f" {result['limit']}: {figure(result['limit_absolute'])} {of_limit} |"
        f" {figure(result['ratio'])} | {aims} |\n"
    )


def said(result: dict[str, Any], name: str) -> str:
    """What a bench says of its limit or its percentiles; "" where nothing is to be said."""
    later = SAID_LATER.get(result["name"], {})
    return str(result["more"].get(name, later.get(name, "")))


def kept(kind: str = "bench") -> list[dict[str, Any]]:
    """The kept results of a kind (`bench`, `prove`, `load`) by name."""
    files = sorted(RESULTS.glob(f"{kind}-*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def table() -> str:
    """The whole table of the README; nothing where nothing was measured yet."""
    rows = [row(result) for result in kept()]
    return HEAD + "".join(rows) + all_notes() if rows else ""


# -- what was made when and where -----------------------------------------------------------------


def made() -> dict[str, Any]:
    """`made.toml`: for each file of `docs/results` its hash, day and machine."""
    return tomllib.loads(MADE.read_text(encoding="utf-8")) if MADE.exists() else {}


def digest(file: Path) -> str:
    """What tells one result of a name from the next one."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def unlisted() -> list[str]:
    """Results that came or changed after the list was written."""
    files = made().get("files", {})
    return [
        file.name
        for file in sorted(RESULTS.glob("*.json"))
        if files.get(file.name, {}).get("of") != digest(file)
    ]


def list_made() -> None:
    """Write the list: what is new was made on the day and the machine that it tells; else on the
    day of its file, on this machine."""
    told, new = made(), unlisted()
    machines: list[str] = list(told.get("machines", []))
    files = {
        file.name: entry_of(file, machines)
        if file.name in new
        else (told["files"][file.name]["on"], told["files"][file.name]["machine"])
        for file in sorted(RESULTS.glob("*.json"))
    }
    lines = [
        "# When and where each result was made: written by `python -m tests.house.figures`.",
        "",
        "machines = [",
        *(f"  {json.dumps(machine)}," for machine in machines),
        "]",
        "",
        "[files]",
    ]
    lines += [
        f'"{name}" = {{ of = "{digest(RESULTS / name)}", on = "{day}", machine = {number} }}'
        for name, (day, number) in files.items()
    ]
    MADE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def entry_of(file: Path, machines: list[str]) -> tuple[str, int]:
    """Day and machine of a new result; a machine that is not known yet is added to the list, with
    the interpreter of this result."""
    one = json.loads(file.read_text(encoding="utf-8"))
    told = one.get("figures", one.get("more", {}))
    day = told.get("day") or time.strftime("%Y-%m-%d", time.gmtime(file.stat().st_mtime))
    machine = told.get("machine") or this_machine()
    known = [at for at, text in enumerate(machines, 1) if text.startswith(f"{machine}, CPython ")]
    if not known:
        machines.append(f"{machine}, CPython {told.get('python', platform.python_version())}")
    return day, (known or [len(machines)])[0]


def stamp(name: str, told: dict[str, Any] | None = None) -> str:
    """Day and machine of a result; of which code it is where `told` says so, and the interpreter
    where that was another than the machine's."""
    entry = made().get("files", {}).get(name)
    if not entry:
        return "not listed"
    machine, told = made()["machines"][entry["machine"] - 1], told or {}
    code = f", code {told['code'][:CODE_SHOWN]}" if "code" in told else ""
    python = f"CPython {told['python']}" if "python" in told else ""
    other = "" if python in machine else f", {python}"
    return f"{entry['on']}, machine {entry['machine']}{other}{code}"


def command(default: str, told: dict[str, Any]) -> str:
    """What was run: as the raw file tells, else by its name."""
    return f"`mmo-cluster {' '.join(told.get('arguments') or [default])}`"


def raw(name: str) -> str:
    """A link to the raw file, from `docs`."""
    return f"[{name}](results/{name})"


# -- docs/PERFORMANCE.md --------------------------------------------------------------------------


def bench_table() -> str:
    """Every kept bench with its percentiles, day, machine and raw file; then those without."""
    rows = []
    for one in kept():
        name, file, unit = f"bench {one['name']}", f"bench-{one['name']}.json", one["unit"]
        times = ", ".join(
            "–" if ms is None else figure(ms) for ms in (one["p50_ms"], one["p99_ms"])
        )
        of_what = said(one, "times_of")
        times += f" ({of_what})" if of_what else ""
        rows.append(
            f"| {command(name, one['more'])} | {figure(one['ours'])} {unit} |"
            f" {times} | {one['limit']}: {figure(one['limit_absolute'])} |"
            f" {figure(one['ratio'])} | {stamp(file, one['more'])} | {raw(file)} |\n"
        )
    return BENCH_HEAD + "".join(rows) + without("bench", benches()) + all_notes()


def all_notes() -> str:
    """What is to be said of the kept benches, a line each; nothing where nothing is."""
    notes = [f"* `{one['name']}`: {text}\n" for one in kept() for text in bench_notes(one)]
    return "\n" + "".join(notes) if notes else ""


def bench_notes(one: dict[str, Any]) -> list[str]:
    """What somebody must know who reads the figure of a bench."""
    found = older(f"bench-{one['name']}.json", one["more"])
    found += [
        f"at {row['rooms']} rooms the generator was late itself, by up to"
        f" {figure(row['generator_late_ms'])} ms: that step says nothing of the node,"
        f" {figure(one['ours'])} rooms are what was shown and not the most."
        for row in (one["more"].get("steps", {}).values() if one["name"] == "raid" else ())
        if limit_of(row["held"], row["generator_late_ms"], row["overrun"]) == GENERATOR
    ]
    return found


def older(file: str, told: dict[str, Any]) -> list[str]:
    """What is to be said of a kept result whose bench or proof has become another since."""
    key, text = OLDER.get(file, ("", ""))
    at: Any = told
    for word in key.split("."):
        at = at.get(word) if isinstance(at, dict) else None
    return [text] if key and at is None else []


def older_proofs() -> str:
    """Names of the kept proofs that are older than what they are the result of."""
    names = [
        f"`{one['name']}`"
        for one in kept("prove")
        if older(f"prove-{one['name']}.json", one["figures"])
    ]
    return f"Older than their proofs: {', '.join(names) or 'none'}.\n"


def generator_table() -> str:
    """How late the generator itself was in each kept latency at a fixed rate; then those that tell
    no lag."""
    rows, silent = [], []
    for one in kept():
        if one["name"] not in OPEN_LOOPS:
            continue
        latency = one["more"].get("latency", {})
        if "generator" not in latency:
            silent.append(f"`{one['name']}`")
            continue
        own, per_s = latency["generator"], latency.get("messages_per_s")
        per_s = latency["purchases_per_s"] if per_s is None else per_s
        lags = ", ".join(figure(own[f"lag_{name}_ms"]) for name in ("p50", "p99", "longest"))
        rows.append(
            f"| `{one['name']}` | {figure(per_s)} | {lags} | {own['held']:,} |"
            f" {figure(own['busy'])} |\n"
        )
    without_lag = f"\nKept from before the lag was told: {', '.join(silent)}.\n" if silent else ""
    return (GENERATOR_HEAD + "".join(rows) if rows else "") + without_lag


def missed_table() -> str:
    """The aims that were missed, so that nobody has to look for them."""
    rows = [
        f"| `{one['name']}` | {aim['name']} | {figure(aim['aim'])} | {figure(aim['found'])} |\n"
        for one in kept()
        for aim in one["more"].get("aims", [])
        if not aim["met"]
    ]
    return "| bench | aim | asked | found |\n| --- | --- | --- | --- |\n" + "".join(rows)


def load_table() -> str:
    """Every kept load test, then the actions of each."""
    runs = kept("load")
    rows, parts = [], []
    for one in runs:
        seen, file = one["figures"], f"load-{one['name']}.json"
        held = sum(gate["held"] for gate in one["gates"])
        per_s = seen["actions"] / max(seen["seconds"], 1)
        rows.append(
            f"| `make load PROFILE={one['name']}` | {seen['users_max']} |"
            f" {figure(seen['actions'])} | {figure(per_s)} | {seen['errors']} |"
            f" {figure(seen['p50_ms'])}, {figure(seen['p99_ms'])} | {seen['ghosts']} |"
            f" {seen['money_drift']} | {held} of {len(one['gates'])} held |"
            f" {stamp(file)} | {raw(file)} |\n"
        )
        parts += [f"\n`{one['name']}` was {text}\n" for text in older(file, seen)]
        parts.append(f"\n`{one['name']}`, by action and by push:\n\n{actions(seen)}")
    return LOAD_HEAD + "".join(rows) + "".join(parts)


def actions(seen: dict[str, Any]) -> str:
    """Latencies of one run by action, the most frequent first, then the age of its pushes."""
    told = sorted(seen["by_kind"].items(), key=lambda item: -item[1]["count"])
    told += [(f"{kind} (age)", one) for kind, one in sorted(seen["pushes"].items())]
    return ACTION_HEAD + "".join(
        f"| {kind} | {figure(one['count'])} | {figure(one['p50_ms'])} | {figure(one['p95_ms'])} |"
        f" {figure(one['p99_ms'])} |\n"
        for kind, one in told
    )


# -- docs/RELIABILITY.md --------------------------------------------------------------------------


def proof_table() -> str:
    """Every kept proof: whether it holds, how much was checked, when; then those without."""
    rows = []
    for one in kept("prove"):
        name, file, figures = f"prove {one['name']}", f"prove-{one['name']}.json", one["figures"]
        rows.append(
            f"| {command(name, figures)} | {'yes' if one['held'] else '**no**'} |"
            f" {figure(figures['checks'])} | {figure(figures.get('took_s', 0))} s |"
            f" {stamp(file, figures)} | {raw(file)} |\n"
        )
    return PROOF_HEAD + "".join(rows) + without("prove", proofs())


def fuzz_table() -> str:
    """The kept run of the fuzz targets: what each did and reached, with which tools, when."""
    file = RESULTS / "fuzz.json"
    if not file.exists():
        return "No run is kept.\n"
    one = json.loads(file.read_text(encoding="utf-8"))
    rows = [
        f"| `{target}` | {figure(row['executions'])} | {row['seconds']:,} | {row['edges']:,} |"
        f" {row['corpus_files']} | {row['failures']} |\n"
        for target, row in one["targets"].items()
    ]
    tools = ", ".join(one["tools"].values())
    return FUZZ_HEAD + "".join(rows) + f"\nBy {tools}; {stamp(file.name)}: {raw(file.name)}.\n"


def proof_parts() -> str:
    """What each proof shows, what it did and what it counted."""
    parts = []
    for one in kept("prove"):
        known = proofs().get(one["name"])
        promise = known.promise if known else "no longer a proof"
        parts.append(f"### {one['name']}\n\n{promise[0].upper()}{promise[1:]}.\n\n")
        parts += [f"{text}\n\n" for text in older(f"prove-{one['name']}.json", one["figures"])]
        parts += [f"* {text}\n" for text in one["tried"][:TRIED_MAX]]
        if len(one["tried"]) > TRIED_MAX:
            parts.append(f"* and {len(one['tried']) - TRIED_MAX} lines more in the raw file\n")
        parts += [f"* **does not hold:** {text}\n" for text in one["findings"]]
        parts.append(counted(one["figures"]))
    return "".join(parts).rstrip("\n") + "\n"


def counted(figures: dict[str, Any]) -> str:
    """The figures of a proof: single ones and counts by name as lines, what has several figures by
    name (recovery by fault, bugs, builds) as a table; of what was lost of what, the bound too."""
    own = {name: figures[name] for name in figures if name not in IN_TABLE}
    parts = [f"\nCounted: {in_line(own)}.\n\n", bound(own)]
    for name, value in own.items():
        if not isinstance(value, dict):
            continue
        line = in_line(value, ": ")
        parts.append(f"By `{name}`: {line}.\n\n" if line else "")
        rows = {key: row for key, row in value.items() if isinstance(row, dict) and row}
        if not rows:
            continue
        heads = list(dict.fromkeys(head for row in rows.values() for head in row))
        parts.append(f"| {name} | {' | '.join(heads)} |\n{'| --- ' * (len(heads) + 1)}|\n")
        parts += [
            f"| {key} | {' | '.join(cell(row.get(head)) for head in heads)} |\n"
            for key, row in rows.items()
        ]
        parts.append("\n")
    return "".join(parts)


def bound(figures: dict[str, Any]) -> str:
    """What "0 lost of N" says at 95 %: by the rule of three, fewer than 3 of N. Of the proof itself
    or, where it compares builds, of ours."""
    builds = figures.get("builds", {})
    told = builds.get("ours", {}) if isinstance(builds, dict) and builds else figures
    acknowledged = told.get("acknowledged", 0)
    if not acknowledged or told.get("lost") != 0:
        return ""
    return (
        f"0 lost of {acknowledged:,} acknowledged: at 95 % fewer than 3 of {acknowledged:,},"
        f" {figure(3 * 1_000_000 / acknowledged)} of a million.\n\n"
    )


def in_line(figures: dict[str, Any], between: str = " ") -> str:
    """Names and numbers, one after the other."""
    numbers = {name: one for name, one in figures.items() if isinstance(one, int | float)}
    return ", ".join(f"{name}{between}{figure(one)}" for name, one in numbers.items())


def cell(value: Any) -> str:
    """One cell of a table of figures."""
    if isinstance(value, dict):
        return in_line(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return figure(value) if number else str("" if value is None else value)


def without(kind: str, known: dict[str, Any]) -> str:
    """Names of which no result is kept: nothing is claimed of them here."""
    missing = sorted(known.keys() - {one["name"] for one in kept(kind)})
    names = ", ".join(f"`{name}`" for name in missing)
    return f"\nNo result is kept of: {names}.\n" if missing else ""


def machines() -> str:
    """The machines by their number."""
    rows = enumerate(made().get("machines", []), 1)
    return "".join(f"{number}. {machine}\n" for number, machine in rows)


# -- documents ------------------------------------------------------------------------------------

PLACES: dict[Path, dict[str, Callable[[], str]]] = {
    README: {"figures": table},
    PERFORMANCE: {
        "machines": machines,
        "benches": bench_table,
        "generator": generator_table,
        "missed": missed_table,
        "load": load_table,
    },
    RELIABILITY: {
        "fuzz": fuzz_table,
        "machines": machines,
        "proofs": proof_table,
        "details": proof_parts,
        "older": older_proofs,
    },
}
"""What stands between `<!-- NAME begin -->` and `<!-- NAME end -->` of each document."""


def with_tables(document: Path, text: str) -> str:
    """The document with its tables in their places."""
    for name, make in PLACES[document].items():
        head, rest = text.split(f"<!-- {name} begin -->\n", 1)
        end = f"<!-- {name} end -->\n"
        text = f"{head}<!-- {name} begin -->\n{make()}{end}{rest.split(end, 1)[1]}"
    return text


if __name__ == "__main__":
    list_made()
    for place in PLACES:
        place.write_text(with_tables(place, place.read_text("utf-8")), encoding="utf-8")
