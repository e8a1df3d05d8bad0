"""Figures out of loads: ratios are taken within a round, medians over rounds, checks can fail."""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, cast

import msgspec
import pytest

from mmo.errors import OperatorError
from mmo.proof import (
    bench_catalogue,
    bench_economy,
    bench_mirror,
    bench_mixed,
    bench_pool,
    bench_raid,
    bench_ranking,
    bench_rounds,
)
from mmo.proof.bench import benches, describe, run
from mmo.proof.bench_instructions import total_instructions
from mmo.proof.bench_process import Load, Server
from mmo.proof.bench_result import BenchResult, Check, at_least, at_most, same
from mmo.proof.bench_rounds import ROUNDS, Contender, rotate
from mmo.proof.checker import cache
from mmo.proof.percentiles import percentile, slowest
from mmo.testing.measured import raid_load
from mmo.testing.measured.samples import ELSEWHERE, part_of

DOCUMENTED = [
    "name",
    "ours",
    "limit",
    "limit_absolute",
    "ratio",
    "unit",
    "p50_ms",
    "p99_ms",
    "checks",
    "more",
]


def load(us_per_message: float, void: bool = False) -> Load:
    """A window of ten messages at a cost."""
    return Load(
        messages=10,
        seconds=1.0,
        messages_per_s=10.0,
        generator_busy=0.5,
        void=void,
        sent_total=12,
        received_total=12,
        pushes_total=0,
        p50_ms=1.0,
        p99_ms=2.0,
        p999_ms=3.0,
        longest_ms=4.0,
        server_us_per_message=us_per_message,
        server_busy=0.9,
    )


def contenders() -> list[Contender]:
    """The floor and ours, each known by its options alone."""
    nowhere = cast(Server, None)
    return [
        Contender("floor", nowhere, {"who": "floor"}),
        Contender("ours", nowhere, {"who": "ours"}),
    ]


def script(monkeypatch: pytest.MonkeyPatch, loads: dict[str, list[Load]]) -> list[str]:
    """Loads come from a list instead of a process; the order of the runs is returned."""
    order: list[str] = []

    def generate(target: Server, **options: Any) -> Load:
        order.append(options["who"])
        return loads[options["who"]].pop(0)

    monkeypatch.setattr(bench_rounds, "generate", generate)
    return order


def test_a_ratio_is_of_one_round_and_the_figure_is_the_median(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    floors = [1.0, 2.0, 4.0, 1.0, 1.0]
    ours = [2.0, 6.0, 4.0, 5.0, 1.5]  # ratios 2, 3, 1, 5, 1.5
    order = script(
        monkeypatch, {"floor": [load(c) for c in floors], "ours": [load(c) for c in ours]}
    )
    found, void = rotate(contenders(), 1.0, lambda text: None, "")
    assert (found[1].ratio, found[1].ratio_least, found[1].ratio_most) == (2.0, 1.0, 5.0)
    assert (found[0].ratio, found[0].us_per_message, found[1].us_per_message) == (1.0, 1.0, 4.0)
    assert void == 0
    assert found[1].messages_total == found[1].received_total == 12 * ROUNDS
    assert order[:4] == ["floor", "ours", "ours", "floor"], "the order rotates"


def test_a_void_round_is_repeated_and_still_counted_as_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = [load(9.0, void=True), *[load(2.0) for _ in range(ROUNDS)]]
    script(monkeypatch, {"floor": [load(1.0) for _ in range(ROUNDS + 1)], "ours": ours})
    found, void = rotate(contenders(), 1.0, lambda text: None, "")
    assert void == 1 and found[1].ratio_most == 2.0
    assert found[1].windows == ROUNDS + 1 and found[1].messages_total == 12 * (ROUNDS + 1)


def test_the_generator_tells_its_own_lag_where_it_has_a_plan() -> None:
    assert load(1.0).generator() == {"busy": 0.5}, "a closed loop is never late"
    late = {"lag_p50_ms": 0.0, "lag_p99_ms": 0.51234, "lag_longest_ms": 7.5, "held": 0}
    told = msgspec.structs.replace(load(1.0), **late).generator()
    assert told == {"busy": 0.5, **late, "lag_p99_ms": 0.5123}
    floors = [load(1.0) for _ in range(ROUNDS)]
    figures = bench_rounds.figures(contenders()[:1], 0, [{"floor": one} for one in floors], [])
    assert figures.summary()["generator_busy"] == 0.5


def test_only_void_rounds_give_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = ROUNDS + bench_rounds.VOID_ROUNDS_MAX
    loads = {name: [load(1.0, void=True) for _ in range(rounds)] for name in ("floor", "ours")}
    script(monkeypatch, loads)
    found, void = rotate(contenders(), 1.0, lambda text: None, "")
    assert void == rounds and found[1].loads == () and found[1].us_per_message == 0.0


def test_the_answer_has_the_documented_form_and_wrong_checks_show() -> None:
    checks = (same("all came back", 3, 3), same("none twice", 3, 4))
    result = BenchResult("x", 2.0, "floor", 1.0, 2.0, "us", 1.0, 2.0, checks, {})
    assert list(result.as_json()) == DOCUMENTED
    assert not result.held and "expected 3, found 4" in json.dumps(result.as_json())
    assert not BenchResult("x", 2.0, "floor", 1.0, 2.0, "us", None, None, (), {}).held
    good = BenchResult("x", 2.0, "floor", 1.0, 2.0, "us", 1.0, 2.0, (Check("a", True),), {})
    assert good.held


def test_the_sizes_of_the_reference_games_load_tests_are_covered() -> None:
    lines, users = zip(*bench_catalogue.SIZES, strict=True)
    assert (min(lines), max(lines), min(users), max(users)) == (500, 2_000, 300, 1_000)
    assert {3, 5, 10} <= set(bench_pool.CONNECTIONS)
    assert (min(bench_pool.REQUESTS), max(bench_pool.REQUESTS)) == (1_000, 5_000)
    assert bench_economy.PLAYERS >= 1_000 and bench_mixed.CLIENTS == 20


def test_a_spread_is_of_sorted_samples_and_of_nothing_is_nothing() -> None:
    samples = [float(number) for number in range(200, 0, -1)]
    assert bench_mirror.spread(samples) == {"p50": 100.0, "p99": 198.0, "longest": 200.0}
    assert set(bench_mirror.spread([]).values()) == {0.0}


def test_the_servers_median_lies_where_the_watcher_saw_it_but_for_his_own_lateness() -> None:
    def held(own_ms: float) -> bool:
        answer, request = {"p50": 8.0}, {"p50": 26.0}
        return bench_mirror.within("", own_ms, answer, request, 5.0).held

    assert [held(own_ms) for own_ms in (2.9, 3.0, 20.0, 31.0, 31.1)] == [
        *(False, True, True, True, False)
    ]


def test_one_percentile_is_the_smallest_sample_that_so_many_do_not_exceed() -> None:
    hundred = [float(number) for number in range(100, 0, -1)]
    assert [percentile(hundred, share) for share in (0.5, 0.99, 0.999)] == [50.0, 99.0, 100.0]
    assert percentile([7.0], 0.5) == percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.99) == 0.0
    told = cache.figures(sorted(hundred))
    assert (told["p50_ms"], told["p99_ms"]) == (50.0, 99.0), "the checker's own is the same"
    assert cache.figures([7.0])["p50_ms"] == 7.0
    listed = bench_ranking.percentiles(hundred)
    assert (listed["p50_ms"], listed["p99_ms"], listed["count"]) == (50.0, 99.0, 100)


def test_an_answer_tells_the_unit_of_its_limit_and_what_its_percentiles_are_of() -> None:
    result = BenchResult("x", 2.0, "floor", 1.0, 2.0, "us", 1.0, 2.0, (Check("a", True),), {})
    assert not {"limit_unit", "times_of"} & result.as_json()["more"].keys()
    other = msgspec.structs.replace(result, limit_unit="ms", times_of="a blow with 9 rooms")
    told = other.as_json()["more"]
    assert (told["limit_unit"], told["times_of"]) == ("ms", "a blow with 9 rooms")


def test_aims_are_met_on_their_own_side_only() -> None:
    assert at_most("ratio", 1.15, 1.15).met and not at_most("ratio", 1.15, 1.16).met
    assert at_least("share", 0.8, 0.8).met and not at_least("share", 0.8, 0.79).met
    assert not at_most("a figure that was never measured", 1.0, 0.0).met


def test_every_bench_says_what_it_measures_and_a_stranger_is_refused(tmp_path: Path) -> None:
    named = {"loopback", "seam", "handler", "login", "connections", "commit", "start"}
    named |= {"economy", "catalogue", "shop", "pool", "mixed", "mirror"}
    assert named <= set(benches())
    assert all(describe(name).endswith(".") for name in benches())
    with pytest.raises(OperatorError) as refused:
        run("unheard-of", 1.0, tmp_path, lambda text: None)
    assert refused.value.code == "E0900"


def test_the_sampled_part_is_the_innermost_that_belongs_to_one() -> None:
    def framed(*modules: str) -> FrameType:
        source = "import sys\ndef call(inner):\n    return inner()\n"

        def innermost() -> FrameType:
            return sys._getframe(1)

        call: Callable[[], FrameType] = innermost
        for module in reversed(modules):
            names: dict[str, Any] = {"__name__": module}
            exec(source, names)
            call = partial(names["call"], call)
        return call()

    assert part_of(framed("mmo.node.committer", "mmo.store.players")) == "store"
    assert part_of(framed("mmo.store.connection", "mysql.connector.aio", "asyncio")) == "driver"
    assert part_of(framed("mmo.node.router", "mmo.systems.shop")) == "rules"
    assert part_of(framed("mmo.store.relay", "redis.cluster")) == "redis driver"
    assert part_of(None) == ELSEWHERE


def test_a_callgrind_file_without_a_sum_is_no_count(tmp_path: Path) -> None:
    written = tmp_path / "callgrind.out"
    written.write_text("events: Ir\nsummary: 123456\n")
    assert total_instructions(written) == 123_456
    written.write_text("events: Ir\n")
    with pytest.raises(OperatorError) as refused:
        total_instructions(written)
    assert refused.value.code == "E0905"


def test_twenty_are_held_against_the_same_mix_of_journeys() -> None:
    """Five of each of four journeys; of three, the first two are walked by one client more."""
    assert bench_mixed.at_the_pace_of([1.0, 2.0, 3.0, 4.0], 20) == 50.0
    assert bench_mixed.at_the_pace_of([1.0, 10.0, 100.0], 20) == 7 + 70 + 600


def test_a_step_of_raids_with_a_late_generator_is_not_the_nodes_limit() -> None:
    late_ms = bench_raid.GENERATOR_LATE_MAX_MS + 1
    assert bench_raid.limit_of(False, late_ms, 0.0) == bench_raid.GENERATOR
    assert bench_raid.limit_of(False, 10.0, 0.0) == bench_raid.NODE
    assert bench_raid.limit_of(True, late_ms, 0.0) == "", "its lateness is in what held"
    overrun = bench_raid.OVERRUN_MAX
    assert bench_raid.limit_of(False, late_ms, overrun) == bench_raid.NODE, "its own count"


def test_of_a_thousand_blows_at_most_one_has_no_effect() -> None:
    row = {
        "rooms": 9, "raised": 0, "rooms_left": 9, "held": True, "datagrams_came": 1.0,
        "blows": 2_000, "unsent": 0, "unanswered": 2, "refused": 2,
    }  # fmt: skip
    for unanswered, few in ((2, True), (3, False)):
        told: dict[str, Any] = row | {"unanswered": unanswered}
        told["missing"] = bench_raid.missing(told)
        (came,) = [one for one in bench_raid.checks_of([told]) if one.name == "9 rooms: blows came"]
        assert came.held == few
    assert bench_raid.missing(row | {"unsent": 2_000}) == 0.5005
    assert bench_raid.missing(row | {"blows": 0, "unanswered": 0}) == 0.0


def test_blows_that_were_due_and_not_sent_are_counted() -> None:
    assert raid_load.unsent([(1.0, 1), (2.5, 2)], 2.0, 0.35) == 3
    assert raid_load.unsent([(2.0, 1)], 2.0, 0.35) == 0


def test_percentiles_are_of_what_came_late_too_and_of_the_age_of_what_never_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(raid_load, "LATE_S", 0.0)
    fighting = raid_load.Load(("127.0.0.1", 1), [])
    for took_ms in (10.0, 20.0, 30.0):
        fighting.taken.action("blow", took_ms)
    silent = raid_load.Member.__new__(raid_load.Member)
    silent.sent = {4: time.perf_counter() - 5.0}
    fighting.members = {1: silent}
    assert fighting.heard_out() == 1
    told = raid_load.percentiles(fighting.taken)
    assert told["p50_ms"] == 20.0 and told["p99_ms"] >= 5_000


def test_the_slow_end_of_few_saves_is_the_longest_and_no_percentile() -> None:
    few = [float(number) for number in range(1, 30)]
    assert slowest(few) == ("longest", 29.0)
    assert slowest([]) == ("longest", 0.0)
    many = [float(number) for number in range(1, 201)]
    assert slowest(many) == ("p99", 198.0)
