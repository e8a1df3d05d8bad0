"""The figures of README and docs are those that were measured and kept.

Owns the comparison of the tables with `docs/results`; measures nothing.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from loadtest.gates import judge_after, judge_play
from loadtest.profiles import profile_named
from tests.house import figures
from tests.house.figures import (
    PERFORMANCE,
    PLACES,
    RELIABILITY,
    RESULTS,
    kept,
    row,
    unlisted,
    with_tables,
)
from tests.house.older import OLDER, SAID_LATER
from tests.house.tree import short

from mmo.proof.chaos_proofs import DUE_SHARE_MIN


@pytest.mark.parametrize("document", PLACES, ids=short)
def test_the_tables_are_made_of_the_kept_results(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert with_tables(document, text) == text, "run: python -m tests.house.figures"


def test_every_result_is_listed_with_its_day_and_machine() -> None:
    assert not unlisted(), "run: python -m tests.house.figures"
    told = figures.made()
    assert set(told["files"]) == {file.name for file in figures.RESULTS.glob("*.json")}
    assert all(1 <= one["machine"] <= len(told["machines"]) for one in told["files"].values())


def test_every_kept_result_held_its_checks() -> None:
    failed = [result["name"] for result in kept() if not all(c["held"] for c in result["checks"])]
    failed += [result["name"] for kind in ("prove", "load") for result in kept(kind)
               if not result["held"]]  # fmt: skip
    failed += [result["name"] for result in kept("fuzz") if not result["held"]]
    assert not failed, failed


def test_every_kept_result_has_a_line_in_its_document() -> None:
    performance = PERFORMANCE.read_text(encoding="utf-8")
    reliability = RELIABILITY.read_text(encoding="utf-8")
    for file in figures.RESULTS.glob("*.json"):
        text = reliability if file.name.startswith(("prove-", "fuzz")) else performance
        assert f"(results/{file.name})" in text, file.name


def test_a_changed_result_is_not_taken_for_the_one_that_was_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    monkeypatch.setattr(figures, "MADE", tmp_path / "made.toml")
    result = tmp_path / "prove-replay.json"
    told: dict[str, Any] = {"name": "replay", "held": True, "tried": ["1"], "findings": []}
    result.write_text(json.dumps(told | {"figures": {"checks": 3, "took_s": 1.5, "raids": 9}}))
    assert unlisted() == ["prove-replay.json"]
    figures.list_made()
    assert not unlisted()
    assert "yes | 3 | 1.5 s" in figures.proof_table() and ", machine 1" in figures.proof_table()
    assert "raids 9" in figures.proof_parts() and "`contrast`" in figures.proof_table()
    result.write_text(json.dumps(told | {"held": False, "figures": {"checks": 4}}))
    assert unlisted() == ["prove-replay.json"]
    assert "**no**" in figures.proof_table()


def test_figures_by_name_are_lines_and_figures_by_name_and_kind_are_tables() -> None:
    told = figures.counted(
        {
            "faults": 600, "checks": 9, "seed": 12, "by_fault": {"kill-raid": 40, "flushall": 21},
            "recovery": {"kill-raid": {"count": 40, "p99_ms": 1234.5, "by": "resumed"}},
        }
    )  # fmt: skip
    assert "Counted: faults 600, seed 12." in told
    assert "By `by_fault`: kill-raid: 40, flushall: 21." in told
    assert "| recovery | count | p99_ms | by |\n| --- | --- | --- | --- |\n" in told
    assert "| kill-raid | 40 | 1,234 | resumed |" in told


def test_plain_numbers_beside_an_empty_table_are_shown() -> None:
    told = figures.counted({"checker": {"operations": 512, "unknown": 14, "counts": {}}})
    assert "By `checker`: operations: 512, unknown: 14." in told
    assert "|" not in told, "a table without a row"
    told = figures.counted({"checker": {"operations": 512, "counts": {"once/roll": 3}}})
    assert "By `checker`: operations: 512." in told and "| counts | 3 |" in told


def test_nothing_lost_is_told_with_its_bound() -> None:
    told = figures.counted({"acknowledged": 399_663, "lost": 0})
    assert "at 95 % fewer than 3 of 399,663, 7.51 of a million" in told
    assert "a million" not in figures.counted({"acknowledged": 399_663, "lost": 1})
    assert "a million" not in figures.counted({"acknowledged": 9})
    builds = {"redis": {"acknowledged": 7, "lost": 0}, "ours": {"acknowledged": 300, "lost": 0}}
    assert "0 lost of 300 acknowledged" in figures.counted({"builds": builds})


def test_code_and_command_are_told_where_the_file_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    monkeypatch.setattr(figures, "MADE", tmp_path / "made.toml")
    words = ["prove", "odds", "--short", "--out", "PATH"]
    made = {"code": "0123456789abcdef", "arguments": words}
    proof = {"name": "odds", "held": True, "tried": [], "findings": []}
    bench = {
        "name": "start", "ours": 1.0, "limit": "the aim", "limit_absolute": 2.0, "ratio": 0.5,
        "unit": "s", "p50_ms": None, "p99_ms": None,
    }  # fmt: skip
    for marks in (made, {}):
        told = proof | {"figures": {"checks": 3, **marks}}
        (tmp_path / "prove-odds.json").write_text(json.dumps(told), encoding="utf-8")
        told = bench | {"more": marks}
        (tmp_path / "bench-start.json").write_text(json.dumps(told), encoding="utf-8")
        figures.list_made()
        proofs_told, benches_told = figures.proof_table(), figures.bench_table()
        for text in (proofs_told, benches_told):
            assert (", code 01234567 |" in text) == bool(marks)
        command = " ".join(words) if marks else "prove odds"
        assert f"| `mmo-cluster {command}` |" in proofs_told
    assert "| `mmo-cluster bench start` |" in benches_told
    assert "0123456789abcdef" not in figures.proof_parts()


def test_a_result_of_an_older_form_says_so_until_it_is_made_again() -> None:
    for file, (key, text) in OLDER.items():
        table, dot, name = key.rpartition(".")
        assert figures.older(file, {}) == figures.older(file, {table: {}}) == [text]
        assert figures.older(file, {table: {name: 0}} if dot else {name: 0}) == []
    raid = {"name": "raid", "ours": 200.0, "more": {"steps": {
        "200": {"rooms": 200, "held": True, "generator_late_ms": 500.0, "overrun": 0.0},
        "300": {"rooms": 300, "held": False, "generator_late_ms": 485.2, "overrun": 0.0},
    }, "times_of": "a blow with 200 rooms"}}  # fmt: skip
    (note,) = figures.bench_notes(raid)
    assert note.startswith("at 300 rooms the generator was late itself, by up to 485 ms")
    raid["more"]["steps"]["300"]["overrun"] = 0.16  # type: ignore[index]
    assert figures.bench_notes(raid) == [], "the node's own count is not excused"


def test_what_a_bench_says_by_itself_is_not_said_for_it() -> None:
    results = {one["name"]: one["more"] for one in kept()}
    both = [(name, key) for name, told in SAID_LATER.items() for key in told
            if key in results[name]]  # fmt: skip
    assert not both, f"made again: take out of SAID_LATER in tests/house/older.py: {both}"


def told_in(file: Path) -> dict[str, Any]:
    """The figures of a kept result."""
    result = json.loads(file.read_text(encoding="utf-8"))
    told: dict[str, Any] = result.get("figures", result.get("more"))
    return told


def is_older(name: str) -> bool:
    """Whether the documents say of a kept result that it is of an older form."""
    return bool(figures.older(name, told_in(RESULTS / name)))


def test_what_is_listed_as_older_has_not_been_made_again() -> None:
    newer = [name for name in OLDER if not is_older(name)]
    assert not newer, f"made again: take out of OLDER in tests/house/older.py: {newer}"


def test_a_kept_run_of_all_faults_compared_enough_or_is_listed_as_older() -> None:
    for name in ("prove-chaos.json", "prove-chaos-hour.json"):
        checker = told_in(RESULTS / name)["checker"]
        due, compared = checker.get("samples_due", 0), checker["samples_compared"]
        enough = due >= DUE_SHARE_MIN * compared > 0
        assert enough or is_older(name), f"{name}: {due} of {compared} samples were due"


def gates_of_today(name: str, seen: dict[str, Any]) -> set[str]:
    """Names of the gates that a load test of this profile, which did this, has now."""
    profile = profile_named(name)
    after = {"ghosts": 0, "players_max": 0, "money_drift": 0, "growth_mib": 0, "steps_done": 0}
    after |= {"ended": (), "restarted": ()}  # type: ignore[dict-item]
    gates = [*judge_play(profile, seen), *judge_after(profile, after)]
    return {gate.name for gate in gates}


def test_a_kept_load_test_has_the_gates_of_today_or_is_listed_as_older() -> None:
    assert kept("load")
    for one in kept("load"):
        name = f"load-{one['name']}.json"
        if not is_older(name):
            today = gates_of_today(one["name"], one["figures"])
            differing = today ^ {gate["name"] for gate in one["gates"]}
            assert not differing, f"{name}: {sorted(differing)}"


def test_an_older_proof_and_an_older_load_test_are_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    assert figures.older_proofs() == "Older than their proofs: none.\n"
    notes = {"prove-flood.json": ("judged", "Old."), "load-ramp.json": ("turns", "kept for long.")}
    monkeypatch.setattr(figures, "OLDER", notes)
    for judged, told in (({}, "`flood`"), ({"judged": 9}, "none")):
        proof = {"name": "flood", "figures": judged}
        (tmp_path / "prove-flood.json").write_text(json.dumps(proof), encoding="utf-8")
        assert figures.older_proofs() == f"Older than their proofs: {told}.\n"
    seen = {
        "users_max": 9, "actions": 9, "seconds": 9, "errors": 0, "p50_ms": 3.0, "p99_ms": 4.0,
        "ghosts": 0, "money_drift": 0, "by_kind": {}, "pushes": {},
    }  # fmt: skip
    for is_new in (False, True):
        told_now = seen | ({"turns": {}} if is_new else {})
        run = {"name": "ramp", "held": True, "figures": told_now, "gates": []}
        (tmp_path / "load-ramp.json").write_text(json.dumps(run), encoding="utf-8")
        assert ("`ramp` was kept for long." in figures.load_table()) != is_new


def test_a_run_of_the_fuzz_targets_is_told_with_what_each_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    assert figures.fuzz_table() == "No run is kept.\n"
    frame = {"executions": 12_345_678, "seconds": 61, "edges": 87, "failures": 0}
    run = {"tools": {"nightly": "rustc 1"}, "targets": {"frame": frame | {"corpus_files": 9}}}
    (tmp_path / "fuzz.json").write_text(json.dumps(run), encoding="utf-8")
    told = figures.fuzz_table()
    assert "| `frame` | 12,345,678 | 61 | 87 | 9 | 0 |\n" in told
    assert "By rustc 1; " in told and told.endswith(": [fuzz.json](results/fuzz.json).\n")


def test_the_lag_of_the_generator_is_told_and_where_there_is_none_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    assert figures.generator_table() == ""
    late = {"busy": 0.5, "lag_p50_ms": 0.01, "lag_p99_ms": 0.2, "lag_longest_ms": 4.0, "held": 0}
    seam = {"name": "seam", "more": {"latency": {"messages_per_s": 90_000, "generator": late}}}
    silent = {"name": "economy", "more": {"latency": {"purchases_per_s": 6_000.0}}}
    for one in (seam, silent, {"name": "start", "more": {}}):
        (tmp_path / f"bench-{one['name']}.json").write_text(json.dumps(one), encoding="utf-8")
    told = figures.generator_table()
    assert "| `seam` | 90,000 | 0.01, 0.2, 4 | 0 | 0.5 |\n" in told
    assert told.endswith("Kept from before the lag was told: `economy`.\n")


def test_a_load_test_is_told_with_every_action_and_its_gates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    taken = {"count": 1200, "p50_ms": 2.0, "p95_ms": 9.0, "p99_ms": 20.0, "max_ms": 30.0}
    seen = {
        "users_max": 120, "actions": 9000, "seconds": 100, "errors": 0, "p50_ms": 3.0,
        "p99_ms": 40.0, "ghosts": 0, "money_drift": 0,
        "by_kind": {"Buy": taken | {"count": 7}, "Hit": taken}, "pushes": {"RaidStream": taken},
    }  # fmt: skip
    run = {"name": "ramp", "held": False, "figures": seen, "gates": [{"held": True}] * 3}
    (tmp_path / "load-ramp.json").write_text(json.dumps(run), encoding="utf-8")
    told = figures.load_table()
    assert (
        "| `make load PROFILE=ramp` | 120 | 9,000 | 90 | 0 | 3, 40 | 0 | 0 | 3 of 3 held |" in told
    )
    assert told.index("| Hit | 1,200 | 2 | 9 | 20 |") < told.index("| Buy | 7 | 2 | 9 | 20 |")
    assert "| RaidStream (age) | 1,200 |" in told


def test_the_load_tests_of_the_reference_game_are_published_with_raw_numbers() -> None:
    """Shop data, purchases, pool sizes and all features at once: every size has a row of its own,
    with what was counted, not a summary alone."""
    results = {result["name"]: result for result in kept()}
    rows = results["pool"]["more"]["rows"]
    sizes = {(row["connections"], row["requests"]) for row in rows}
    assert sizes >= {(size, many) for size in (3, 5, 10) for many in (1_000, 3_000, 5_000)}
    assert all(row["answered"] == row["requests"] and row["p99_ms"] > 0 for row in rows)
    shop = results["shop"]["more"]
    for lines, users in ((500, 300), (1_000, 500), (2_000, 1_000)):
        assert shop[f"{lines}_lines_{users}_users"]["catalogues_per_s"] > 0
    purchases = results["economy"]
    assert purchases["ours"] > 0 and purchases["more"]["players"] >= 1_000
    mixed = results["mixed"]["more"]
    assert mixed["twenty"]["players"] == 20 and mixed["twenty"]["actions"] > 1_000
    assert {"Login", "Hit", "Buy", "Enhance", "PassClaim", "ItemMove"} <= mixed["by_kind"].keys()


def test_a_row_says_figure_limit_ratio_and_whether_the_aim_is_met() -> None:
    aim = {"name": "depth 16", "aim": 1.15, "found": 1.2, "met": False}
    result = {
        "name": "loopback", "ours": 1234.5, "limit": "epoll echo", "limit_absolute": 1000.0,
        "ratio": 1.2345, "unit": "CPU s a million", "more": {"aims": [aim]},
    }  # fmt: skip
    assert row(result) == (
        "| `loopback` | 1,234 CPU s a million | epoll echo: 1,000 CPU s a million | 1.23 |"
        " depth 16: 1.2 (missed, aim 1.15) |\n"
    )


def test_a_limit_has_its_own_unit_and_notes_stand_under_both_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    monkeypatch.setattr(figures, "SAID_LATER", {"mirror": {"limit_unit": "ms"}})
    monkeypatch.setattr(figures, "OLDER", {"bench-mirror.json": ("p99_of", "kept for long.")})
    mirror = {
        "name": "mirror", "ours": 40.5, "limit": "a put and a read back", "limit_absolute": 5.25,
        "ratio": 7.7, "unit": "ms at p99 from the commit", "p50_ms": 8.0, "p99_ms": 40.5,
    }  # fmt: skip
    for more in ({}, {"limit_unit": "ms", "p99_of": "the watcher", "times_of": "a put"}):
        (tmp_path / "bench-mirror.json").write_text(json.dumps(mirror | {"more": more}))
        told, performance = figures.table(), figures.bench_table()
        assert "| a put and a read back: 5.25 ms |" in told
        assert told.endswith("|\n\n* `mirror`: kept for long.\n") == (not more)
        assert performance.endswith("\n* `mirror`: kept for long.\n") == (not more)
        assert ("| 8, 40.5 (a put) |" in performance) == bool(more)


def test_day_and_machine_are_those_that_a_result_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    monkeypatch.setattr(figures, "MADE", tmp_path / "made.toml")
    (tmp_path / "made.toml").write_text('machines = ["2 cores of A, 8 GB, Linux, CPython 3.11.7"]')
    marks = {"day": "2020-02-03", "python": "3.14.0"}
    for name, machine in (("a", "2 cores of A, 8 GB, Linux"), ("b", "9 cores of B, 1 GB, Linux")):
        told = {"name": name, "more": marks | {"machine": machine}}
        (tmp_path / f"bench-{name}.json").write_text(json.dumps(told), encoding="utf-8")
    figures.list_made()
    entries = figures.made()["files"].values()
    assert [(one["on"], one["machine"]) for one in entries] == [
        ("2020-02-03", 1),
        ("2020-02-03", 2),
    ]
    assert figures.made()["machines"][1] == "9 cores of B, 1 GB, Linux, CPython 3.14.0"
    assert not figures.unlisted()
