"""The figures of the README are those that were measured and kept.

Owns the comparison of the table with `docs/results`; measures nothing.
"""

from tests.house.figures import README, kept, row, with_table


def test_the_table_of_the_readme_is_made_of_the_kept_results() -> None:
    text = README.read_text(encoding="utf-8")
    assert with_table(text) == text, "run: python -m tests.house.figures"


def test_every_kept_result_held_its_checks() -> None:
    failed = [result["name"] for result in kept() if not all(c["held"] for c in result["checks"])]
    assert not failed, failed


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
