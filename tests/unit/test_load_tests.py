"""Profiles, curves, gates and charts of the load tests, without locust and without a cluster.

What is measured is in `test_load_clocks`. The whole of it runs in `tests/cluster`, in its shortest
profile.
"""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from loadtest import gates, profiles, report, watch
from loadtest.meter import Book
from loadtest.profiles import CLASSES, Gates, Profile, read_profiles
from loadtest.run import nodes_overlay, origin_of
from loadtest.shapes import users_at


def profile(name: str, **other: Any) -> Profile:
    return msgspec.structs.replace(read_profiles()[name], **other)


# -- profiles -------------------------------------------------------------------------------------


def test_every_shape_has_a_profile_and_every_class_plays() -> None:
    found = read_profiles()
    assert {one.shape for one in found.values()} == {"ramp", "plateau", "spike", "soak", "deploy"}
    assert set(found["plateau"].mix) == set(found["smoke"].mix) == set(CLASSES)
    assert all(set(one.pace) == set(CLASSES) for one in found.values())
    assert all(one.gates.ghosts_max == one.gates.money_drift_max == 0 for one in found.values())
    assert {step.does for step in found["deploy"].steps_at} == {"drain", "reload", "restart"}


def unasked(allowed: Gates) -> list[int]:
    """What may happen to users and processes that nobody asked for."""
    users = [allowed.connections_lost_max, allowed.logins_forced_max, allowed.raids_aborted_max]
    users += [allowed.displaced_max, allowed.away_max]
    return [*users, allowed.processes_ended_max, allowed.restarts_unasked_max]


def test_only_a_profile_that_changes_the_cluster_allows_what_nobody_asked_for() -> None:
    found = read_profiles()
    still = [one for one in found.values() if not one.steps_at]
    assert len(still) >= 5 and all(unasked(one.gates) == [0] * 7 for one in still)
    deploy = found["deploy"]
    nodes = nodes_overlay(deploy.channels).count("[[nodes]]")
    assert deploy.gates.processes_ended_max == nodes and not deploy.gates.restarts_unasked_max
    assert 0 < deploy.gates.connections_lost_max <= 5 * deploy.users
    assert not deploy.gates.logins_forced_max
    assert all(one.gates.turns_min > 0 for one in found.values())
    shops = [one for one in found.values() if "Shopper" in one.mix and "Shopper" not in one.idle]
    assert len(shops) >= 5 and all(one.gates.repeated_min >= 15 for one in shops)


def test_limits_of_a_profile_lie_over_those_of_all() -> None:
    found = read_profiles()
    assert found["plateau"].gates.p99_ms["Login"] == found["ramp"].gates.p99_ms["Login"]
    assert found["spike"].gates.p99_ms["Login"] > found["plateau"].gates.p99_ms["Login"]
    assert found["spike"].gates.p99_ms["RaidMatched"] == found["ramp"].gates.p99_ms["RaidMatched"]


@pytest.mark.parametrize(
    ("line", "other", "says"),
    [
        ("users = 10", "users = 0", "users"),
        ("users = 10", 'users = "many"', "users"),
        ("users = 10", "users = 3", "3 users cannot be of 8 classes"),
        ("LoginBurst = 1\n", "Dancer = 1\n", "Dancer"),
        ("spawn_per_s = 10.0 ", "spawn_rate = 10.0 ", "spawn_rate"),
        ('shape = "plateau"\nusers = 10', 'shape = "wave"\nusers = 10', "wave"),
        ("from_s = 40.0", "from_s = 90.0", "a spike has"),
        ("{ at_s = 130.0,", "{ at_s = 500.0,", "after the end"),
        ("\nsteps = 8", "\nsteps = 1", "two steps"),
        ("actions_min = 100\n", "", "actions_min"),
    ],
)
def test_a_profile_that_does_not_fit_is_refused_with_its_place(
    tmp_path: Path, line: str, other: str, says: str
) -> None:
    text = profiles.FILE.read_text(encoding="utf-8")
    assert line in text
    file = tmp_path / "profiles.toml"
    file.write_text(text.replace(line, other), encoding="utf-8")
    with pytest.raises(ValueError, match=says):
        read_profiles(file)


def test_a_profile_that_there_is_not_is_refused_with_the_names() -> None:
    with pytest.raises(ValueError, match="plateau"):
        profiles.profile_named("wave")


def test_a_cluster_of_its_own_has_the_channel_servers_of_the_profile() -> None:
    text = nodes_overlay(3)
    assert text.count('role = "channel"') == 3
    numbers = [line for line in text.splitlines() if line.startswith("number")]
    assert len(numbers) == len(set(numbers)) == text.count("[[nodes]]")


def test_a_result_tells_of_which_code_and_limits_it_is_and_of_which_cluster() -> None:
    words = ["--profile", "plateau", "--out", "kept/here"]
    made = origin_of(profile("plateau"), None, words)
    assert made["arguments"] == ["--profile", "plateau", "--out", "PATH"]
    assert len(made["code"]) == len(made["profile"]) == 16 and made["cluster"] == "its own"
    other = origin_of(profile("plateau", users=121), Path("home"), [])
    assert other["cluster"] == "a home" and other["profile"] != made["profile"]
    assert (other["code"], other["arguments"]) == (made["code"], [])


# -- shapes ---------------------------------------------------------------------------------------


def test_a_plateau_a_soak_and_a_deploy_are_level_and_end() -> None:
    for name in ("plateau", "soak", "deploy"):
        one = read_profiles()[name]
        assert {users_at(one, at) for at in (0, 1, one.time_s / 2, one.time_s - 1)} == {one.users}
        assert users_at(one, one.time_s) is None


def test_the_end_waits_for_a_while_for_what_must_happen() -> None:
    smoke = profile("smoke", time_s=16.0, longer_s=44.0)
    assert [users_at(smoke, at, lambda: True) for at in (15, 16, 59.9, 60)] == [10, 10, 10, None]
    assert users_at(smoke, 16, lambda: False) is None
    assert users_at(profile("plateau", time_s=120.0), 120, lambda: True) is None
    plateau = read_profiles()["plateau"]
    assert gates.lacking(plateau, seen()) == []
    well = seen()
    kinds = {kind: one for kind, one in well["by_kind"].items() if kind != "Buy"}
    turns = well["turns"] | {"Hunter": plateau.gates.turns_min - 1}
    few = seen(by_kind=kinds, pushes={}, turns=turns, actions=plateau.gates.actions_min - 1)
    pushes = {kind for kind in plateau.must if kind in plateau.gates.push_p99_ms}
    assert gates.lacking(plateau, few) == sorted({"Buy", "Hunter", "actions", *pushes})
    assert "Hunter" not in gates.lacking(msgspec.structs.replace(plateau, idle=("Hunter",)), few)


def test_a_ramp_rises_in_equal_stairs_to_all_users() -> None:
    ramp = profile("ramp", users=80, steps=4, time_s=40.0)
    assert [users_at(ramp, at) for at in (0, 9, 10, 20, 30, 39)] == [20, 20, 40, 60, 80, 80]
    assert users_at(ramp, 40) is None


def test_a_spike_is_between_its_moments_alone() -> None:
    spike = profile("spike", users=90, quiet_users=30, from_s=10.0, until_s=20.0, time_s=30.0)
    assert [users_at(spike, at) for at in (0, 9.9, 10, 19.9, 20, 29)] == [30, 30, 90, 90, 30, 30]


# -- gates ----------------------------------------------------------------------------------------


def seen(**other: Any) -> dict[str, Any]:
    """Figures of a run that was well."""
    one = {"count": 500, "p50_ms": 3.0, "p95_ms": 9.0, "p99_ms": 20.0, "max_ms": 30.0}
    plateau = read_profiles()["plateau"]
    frames = {"came": 980, "due": 1000, "share": 0.98, "share_least": 0.9}
    return {
        "actions": 100_000,
        "errors": 0,
        "generator": {"lag_p99_ms": 4.0},
        "lost": {},
        "logins_forced": 0,
        "raids_aborted": 0,
        "refusals": {"Hit": {"COOLDOWN": 40}, "RaidQueue": {"ALREADY_QUEUED": 1}},
        "displaced": {"SESSION_OVER": {"center": 2}, "NOT_IN_RAID": {"raid": 1}},
        "repeated": {"here": 70, "elsewhere": 3},
        "compared": 70,
        "cut_off": 0,
        "cut_off_amid": {},
        "frames": frames,
        "turns": dict.fromkeys(plateau.mix, 200),
        "by_kind": {kind: one for kind in plateau.must if kind not in plateau.gates.push_p99_ms},
        "pushes": {kind: one for kind in plateau.gates.push_p99_ms},
    } | other


def not_held(rows: list[gates.Gate]) -> list[str]:
    return [row.name for row in rows if not row.held]


def test_a_run_that_was_well_holds_every_gate() -> None:
    rows = gates.judge_play(read_profiles()["plateau"], seen())
    assert len(rows) > 12 and not not_held(rows)
    assert {row.name for row in rows} > {"error share", "Hit p99 ms", "RaidStream age p99 ms"}
    assert not any(row.name.startswith("rare") for row in rows)


def test_each_figure_that_is_too_much_is_named_and_nothing_else() -> None:
    plateau = read_profiles()["plateau"]
    slow = {"count": 9, "p50_ms": 1.0, "p95_ms": 1.0, "p99_ms": 99_999.0, "max_ms": 99_999.0}
    well = seen()
    for other, name in (
        ({"errors": 1}, "error share"),
        ({"actions": 100}, "actions"),
        ({"lost": {"connection to game lost: 0": 1}}, "connections lost"),
        ({"logins_forced": 1}, "logins forced"),
        ({"raids_aborted": 1}, "raids aborted"),
        ({"generator": {"lag_p99_ms": 51.0}}, "generator lag p99 ms"),
        ({"by_kind": well["by_kind"] | {"Hit": slow}}, "Hit p99 ms"),
        ({"by_kind": well["by_kind"] | {"Unheard": slow}}, "Unheard p99 ms"),
        ({"pushes": well["pushes"] | {"RaidStream": slow}}, "RaidStream age p99 ms"),
        ({"displaced": {"TOKEN_REFUSED": {"game": 1}}}, "tokens not honoured"),
        ({"displaced": {"TOKEN_INVALID": {"center": 1}}}, "tokens not honoured"),
        ({"refusals": {"RaidQueue": {"MATCHING_AWAY": 1}}}, "answered with away"),
        ({"refusals": {"Move": {"SERVER_AWAY": 1, "SERVER_FULL": 9}}}, "answered with away"),
        ({"repeated": {"here": 0, "elsewhere": 90}}, "requests repeated"),
        ({"compared": 3}, "users compared"),
        ({"cut_off": 1}, "cut off while leaving"),
        ({"cut_off_amid": {"Raider": {"turn": 2}, "Hunter": {"turn": 1}}}, "cut off amid a turn"),
        ({"frames": well["frames"] | {"share": 0.9}}, "frames share"),
        ({"frames": well["frames"] | {"share_least": 0.1}}, "frames share of a battle"),
        ({"frames": {"due": 0, "share": None, "share_least": None}}, "frames share"),
    ):
        assert not_held(gates.judge_play(plateau, seen(**other))) == [name]


def test_what_never_happened_is_not_held() -> None:
    plateau = read_profiles()["plateau"]
    well = seen()
    kinds = {kind: one for kind, one in well["by_kind"].items() if kind != "Buy"}
    pushes = {kind: one for kind, one in well["pushes"].items() if kind != "GrantReward"}
    rows = gates.judge_play(plateau, seen(by_kind=kinds, pushes=pushes))
    assert not_held(rows) == ["Buy p99 ms", "GrantReward age p99 ms"]
    quiet = {
        "generator": {"lag_p99_ms": None}, "by_kind": {}, "pushes": {}, "turns": {}, "compared": 0,
        "frames": {"due": 0, "share": None, "share_least": None},
        "displaced": {}, "refusals": {}, "repeated": {"here": 0, "elsewhere": 0},
    }  # fmt: skip
    idle = gates.judge_play(plateau, seen(actions=0, errors=0, **quiet))
    unhappened = {"connections lost", "logins forced", "raids aborted"}
    unhappened |= {"cut off while leaving", "cut off amid a turn"}
    unhappened |= {"tokens not honoured", "answered with away"}
    assert {row.name for row in idle if row.held} == unhappened


@pytest.mark.parametrize(
    ("figure", "gate"),
    [
        ("displaced", "tokens not honoured"),
        ("refusals", "answered with away"),
        ("repeated", "requests repeated"),
    ],
)
def test_what_the_generator_did_not_tell_is_not_held(figure: str, gate: str) -> None:
    told = seen()
    del told[figure]
    assert not_held(gates.judge_play(read_profiles()["plateau"], told)) == [gate]


def test_tokens_and_servers_away_are_counted_and_not_judged_where_the_cluster_is_changed() -> None:
    deploy = read_profiles()["deploy"]
    refusals = {"RaidQueue": {"MATCHING_AWAY": 3}}
    rows = gates.judge_play(
        deploy, seen(refusals=refusals, displaced={"TOKEN_REFUSED": {"game": 1}})
    )
    assert not {"tokens not honoured", "answered with away"} & {row.name for row in rows}
    assert not not_held(rows)


def few(*samples_ms: float) -> dict[str, Any]:
    """Figures of an action that happened so seldom that they keep its samples."""
    book = Book(lambda name, took_ms, fault: None)
    for took_ms in samples_ms:
        book.action("Rare", took_ms)
    return dict(book.figures()["by_kind"]["Rare"])


def rare(**kinds: dict[str, Any]) -> list[gates.Gate]:
    plateau = read_profiles()["plateau"]
    return gates.judge_play(plateau, seen(by_kind=seen()["by_kind"] | kinds))


def test_one_stall_is_the_longest_of_a_rare_action_and_no_p99_of_all_of_them() -> None:
    calm = {f"Calm{number}": few(*[5.0] * 40) for number in range(7)}
    stalled = rare(Enhance=few(*[5.0] * 40, 900.0), PassBuy=few(5.0, 900.0), **calm)
    assert not not_held(stalled)
    names = {row.name for row in stalled}
    assert names >= {"rare actions p99 ms", "rare actions longest ms"}
    assert not names & {"Enhance p99 ms", "PassBuy p99 ms"}
    assert not_held(rare(PassBuy=few(*[900.0] * 4), **calm)) == ["rare actions p99 ms"]
    assert not_held(rare(PassBuy=few(2_600.0), **calm)) == ["rare actions longest ms"]


def test_what_has_samples_enough_or_a_limit_of_its_own_is_judged_alone() -> None:
    often = few(*[5.0] * 98, 900.0, 900.0)
    assert "samples_ms" not in often and not_held(rare(Enhance=often)) == ["Enhance p99 ms"]
    assert not_held(rare(Login=few(5.0, 2_600.0))) == ["Login p99 ms"]
    assert not not_held(rare(Login=few(5.0, 2_400.0)))
    alone = {row.name for row in rare(Enhance=few(5.0))}
    assert "rare actions longest ms" in alone and "rare actions p99 ms" not in alone


@pytest.mark.parametrize("silent", CLASSES)
def test_a_class_that_did_nothing_is_named_whatever_the_others_did(silent: str) -> None:
    plateau = read_profiles()["plateau"]
    turns = dict.fromkeys(plateau.mix, 200)
    few = turns | {silent: plateau.gates.turns_min - 1}
    del turns[silent]
    for found in (turns, few):
        assert not_held(gates.judge_play(plateau, seen(turns=found))) == [f"{silent} turns"]


def test_a_class_that_a_profile_does_not_name_is_not_waited_for() -> None:
    deploy = read_profiles()["deploy"]
    names = {row.name for row in gates.judge_play(deploy, seen())}
    assert "Hunter turns" in names and "Attacker turns" not in names
    smoke = {row.name for row in gates.judge_play(read_profiles()["smoke"], seen())}
    assert "Raider turns" in smoke and "Shopper turns" not in smoke


def test_ghosts_money_memory_processes_and_undone_steps_are_judged_when_all_are_gone() -> None:
    deploy = read_profiles()["deploy"]
    well = {
        "ghosts": 0, "money_drift": 0, "growth_mib": 1.0, "steps_done": len(deploy.steps_at),
        "players_max": 110,
        "ended": ["channel-1"] * deploy.gates.processes_ended_max, "restarted": [],
    }  # fmt: skip
    assert not not_held(gates.judge_after(deploy, well))
    for other, name in (
        ({"ghosts": 1}, "ghost sessions"),
        ({"ghosts": None}, "ghost sessions"),
        ({"players_max": 0}, "players at once"),
        ({"players_max": 44}, "players at once"),
        ({"money_drift": 1}, "money drift"),
        ({"money_drift": None}, "money drift"),
        ({"growth_mib": 5_000.0}, "memory growth MiB"),
        ({"ended": [*well["ended"], "mysql"]}, "processes ended"),  # type: ignore[misc]
        ({"restarted": ["center-1"]}, "restarts unasked"),
        ({"steps_done": 2}, "steps done"),
    ):
        assert not_held(gates.judge_after(deploy, well | other)) == [name]
    for other in ({"ended": ["raid-1"]}, {"restarted": ["raid-1"]}):
        still: dict[str, Any] = {"ended": [], "restarted": []} | other
        assert len(not_held(gates.judge_after(read_profiles()["plateau"], well | still))) == 1


def test_coins_that_nothing_explains_and_findings_are_drift() -> None:
    flow = {"minted": 100, "burned": 40, "held": 60}
    assert gates.money_drift({"currencies": {"gold": flow}, "findings": []}) == 0
    lost = flow | {"held": 58}
    assert gates.money_drift({"currencies": {"gold": lost, "cash": flow}, "findings": [1]}) == 3


def test_growth_is_counted_from_the_end_of_the_beginning() -> None:
    rows = [(float(at), 50.0 + min(at, 3) * 10) for at in range(9)]
    assert gates.growth_mib({"center-1": rows, "login-1": [(0.0, 9.0)]}) == 0.0
    assert gates.growth_mib({"center-1": [*rows, (9.0, 97.0)]}) == 17.0
    assert gates.growth_mib({}) is None


# -- the cluster's figures and the page -----------------------------------------------------------

SCRAPE = """\
# TYPE mmo_messages_total counter
mmo_messages_total{node="a",role="center",opcode="HIT"} %d
mmo_messages_total{node="a",role="center",opcode="BUY"} 5
# TYPE mmo_players gauge
mmo_players{node="a",role="center"} 3
# TYPE mmo_uptime_seconds gauge
mmo_uptime_seconds{node="a",role="center"} 77
# TYPE mmo_commit_seconds histogram
mmo_commit_seconds_bucket{node="a",role="center",le="0.01"} %d
mmo_commit_seconds_bucket{node="a",role="center",le="0.1"} %d
mmo_commit_seconds_bucket{node="a",role="center",le="+Inf"} %d
"""


def two_scrapes(first: tuple[int, ...], second: tuple[int, ...]) -> watch.Watch:
    made = watch.Watch.__new__(watch.Watch)
    rows = [watch.read(SCRAPE % first, 0.0), watch.read(SCRAPE % second, 2.0)]
    made.scrapes, made.memory = {"center-1": rows}, {"center-1": [(0.0, 50.0)]}
    made.processor_s = {"mysql": [(0.0, 5.0), (10.0, 9.0), (20.0, 1.0), (30.0, 2.5)]}
    return made


def test_figures_of_the_nodes_are_rates_gauges_and_percentiles_between_two_scrapes() -> None:
    seen = two_scrapes((10, 100, 100, 100), (30, 150, 190, 200))
    assert seen.rate("mmo_messages_total") == {"center-1": [(2.0, 10.0)]}
    assert seen.gauge("mmo_players") == {"center-1": [(0.0, 3.0), (2.0, 3.0)]}
    last = {name: rows[-1] for name, rows in seen.scrapes.items()}
    assert watch.total(last, "mmo_players") == 3 and watch.total(last, "mmo_uptime_seconds") == 0
    ((at, half),) = seen.percentile_ms(0.5, "mmo_commit_seconds")["center-1"]
    assert at == 2.0 and half == pytest.approx(10.0)
    ((_, most),) = seen.percentile_ms(0.7, "mmo_commit_seconds")["center-1"]
    assert most == pytest.approx(55.0)
    ((_, beyond),) = seen.percentile_ms(0.99, "mmo_commit_seconds")["center-1"]
    assert beyond == pytest.approx(100.0)


def test_a_replaced_process_has_no_point_where_its_counters_began_anew() -> None:
    seen = two_scrapes((100, 100, 100, 100), (3, 1, 2, 2))
    assert seen.rate("mmo_messages_total") == {}
    assert seen.percentile_ms(0.5, "mmo_commit_seconds") == {}


def test_processors_in_use_are_told_of_every_process_that_is_ours() -> None:
    seen = two_scrapes((10, 100, 100, 100), (30, 150, 190, 200))
    assert seen.processors() == {"mysql": [(10.0, 0.4), (30.0, 0.15)]}
    stores = {"mysql": {"pid": 8}, "redis": {"servers": [{"pid": 5}, {"pid": 0}, {"pid": 6}]}}
    rows = [{"name": "center-1", "pid": 3}, {"name": "cash-1", "pid": 0}]
    assert watch.processes({"nodes": rows, "stores": stores}) == {
        "center-1": [3], "mysql": [8], "redis": [5, 6]
    }  # fmt: skip
    elsewhere = {"mysql": {"pid": 0}, "redis": {"ready": True}}
    assert watch.processes({"nodes": rows, "stores": elsewhere}) == {"center-1": [3]}
    assert watch.processor_s(os.getpid()) > 0.0 < watch.resident_mib(os.getpid())


def test_the_page_is_locusts_own_with_gates_and_charts_before_it() -> None:
    seen = two_scrapes((10, 100, 100, 100), (30, 150, 190, 200))
    held = gates.at_most("ghost sessions", 0, 0)
    missed = gates.at_most("Hit p99 ms", 900.0, 400.0)
    marks = [(1.0, "reload")]
    drawn = list(report.charts(seen, [[0, 5, 40, 9.0]], marks))
    ours = report.section("Load <test>", [held, missed], ["a & b"], drawn, marks)
    made = report.page(f"<body>{report.ROOT}</div></body>", ours)
    assert made.index("Load &lt;test&gt;") < made.index(report.ROOT)
    assert "<tr class=no><td>Hit p99 ms</td><td>900</td>" in made and "a &amp; b" in made
    assert made.count("<polyline") >= 8 and ">reload<" in made and "http" not in ours
    with pytest.raises(ValueError, match="no <div"):
        report.page("<body></body>", ours)


def test_memory_that_a_killed_process_had_counts_as_grown() -> None:
    rows = [(float(second), 80.0) for second in range(6)]
    assert gates.growth_mib({"center-1": [*rows, (7.0, 900.0), (8.0, 60.0)]}) == 820.0
