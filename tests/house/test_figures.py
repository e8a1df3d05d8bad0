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
