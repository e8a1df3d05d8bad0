"""A game of one's own under the simulator, as whoever begins one has it: the files of `new game`,
pytest in their folder, and the fixture that it finds by itself.

Owns the bugs that are planted in the game's rule; each must be found by the game's own test.
"""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from mmo.cli.new import write_game

BUGS = {
    "told and not done": ("changes=(paid,)", "changes=()", "acknowledged"),
    "paid twice": ("changes=(paid,)", "changes=(paid, paid)", "acknowledged"),
    "a repeat would be done again": (", mutates=True", "", "not marked mutates"),
    "raises": (
        "left = wallet.gold - message.gold",
        "left = [][wallet.gold]",
        "IndexError: list index out of range at systems/dice.py:{line}",
    ),
}
"""What of the rule is replaced, by what, and words of what must be found then."""

RELOADED = """
from mmo.cli import switching
from tests.test_tips import GAME, tips


def test_no_tip_is_lost_while_the_code_changes(simulation):
    report = simulation(17, game=GAME, walks=(tips, tips), coordinator=switching)
    assert report.findings == []
    assert report.faults["reload"]
"""


def run(folder: Path, test: str) -> "subprocess.CompletedProcess[str]":
    """One test file of a game, by a pytest that knows of no other folder."""
    words = ("-x", "-vv", f"tests/{test}.py", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_pytest_finds_the_plugin_by_itself() -> None:
    found = {one.name: one.value for one in entry_points(group="pytest11")}
    name = "mmo.testing.plugin"
    assert found.get(name) == name, "install it again: maturin develop --release"


def test_the_plugin_when_it_is_loaded_loads_nothing_of_ours() -> None:
    """Every test run of whoever has this package installed loads it."""
    program = "import sys, mmo.testing.plugin; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    ours = {name for name in done.stdout.split() if name.partition(".")[0] == "mmo"}
    assert ours == {"mmo", "mmo.testing", "mmo.testing.plugin"}


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_in_the_rule_of_a_game_is_found(tmp_path: Path, name: str) -> None:
    right, wrong, told = BUGS[name]
    write_game(tmp_path / "mine")
    rule = tmp_path / "mine" / "game" / "systems" / "dice.py"
    text = rule.read_text(encoding="utf-8")
    before, _, after = text.partition(right)
    assert after and right not in after
    told = told.format(line=1 + before.count("\n"))
    rule.write_text(before + wrong + after, encoding="utf-8")
    done = run(tmp_path / "mine", "test_tips")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "report.findings == []" in done.stdout and told in done.stdout, done.stdout


def test_the_code_of_a_game_is_changed_under_its_players(tmp_path: Path) -> None:
    write_game(tmp_path / "mine")
    (tmp_path / "mine" / "tests" / "test_reloads.py").write_text(RELOADED, encoding="utf-8")
    done = run(tmp_path / "mine", "test_reloads")
    assert done.returncode == 0, done.stdout + done.stderr
