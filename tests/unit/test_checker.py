"""New code is tried where it can do no harm; what is wrong is told with file, line and caret.

Owns a checker process over the sources in the box, changed in one place each.
"""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmo.cli.checker import Checked, Checker
from mmo.cli.new import write_game
from mmo.cli.sources import game_folder, import_game, read_sources
from mmo.config.load import load_config
from mmo.errors import OperatorError
from mmo.node.bundle import Bundle

CHECK_MS = 3_000  # ten times what the first check takes on a machine that is not slow
HUNT = "systems/hunt.py"


@pytest.fixture(scope="module")
def box() -> Bundle:
    """What lies in the box."""
    return read_sources(load_config(environment={}).config).bundle


@pytest.fixture(scope="module")
def check() -> Iterator[Callable[[Bundle], Checked]]:
    """One process for all tests of this file."""
    runner = asyncio.Runner()
    checker = Checker("", CHECK_MS, 256 << 20)
    yield lambda bundle: runner.run(checker.check(bundle.packed, bundle.digest))
    runner.run(checker.close())
    runner.close()


async def test_a_check_imports_nothing_from_where_the_operator_stands(
    box: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "select.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    checker = Checker("", CHECK_MS, 256 << 20)
    checked = await checker.check(box.packed, box.digest)
    await checker.close()
    assert checked.rules > 0


def changed(box: Bundle, path: str, old: str, new: str) -> Bundle:
    text = box.files[path]
    assert old in text, (path, old)
    return Bundle({**box.files, path: text.replace(old, new, 1)}, box.packages)


Case = tuple[str, str, str, str, str]
BROKEN: dict[str, Case] = {
    "syntax": (HUNT, "user, now_ms = ", "user, now_ms = (", "E0428", "was never closed"),
    "import": (HUNT, "import attack_power", "import atack_power", "E0412", "atack_power"),
    "module": (HUNT, "mmo.systems.inventory", "mmo.systems.bags", "E0412", "systems.bags"),
    "raises": (HUNT, "_NOT_IN_CHANNEL = ", "X = 1 // 0\n_NOT_IN_CHANNEL = ", "E0412", "X = 1 // 0"),
    "need": (HUNT, '"bag", "world")', '"bag", "word")', "E0403", "def hit("),
    "signature": (HUNT, "world: ChannelWorld, env", "hall: ChannelWorld, env", "E0403", "def hit("),
    "twice": ("systems/growth.py", "@handles(Op.KILL_EARNED", "@handles(Op.HIT", "E0402", "def "),
    "state": (HUNT, "_NOT_IN_CHANNEL = ", "X = {}\n_NOT_IN_CHANNEL = ", "E0411", "X = {}"),
    "outside": (HUNT, "from random", "import socket\nfrom random", "E0411", "import socket"),
    "nothing": (HUNT, "return _NOT_IN_CHANNEL", "return None", "E0411", "return None"),
    "table": ("content/monsters.toml", "kind = 0", "kind = ", "E0601", "kind = "),
    "form": ("content/monsters.toml", "exp = 0", "exp = -1", "E0602", "exp = -1"),
    "row": ("content/monsters.toml", "code = 1, permille", "code = 77, permille", "E0603", "drops"),
    "role": ("roles/channel.py", '"hunt"', '"hunts"', "E0401", "systems.hunts"),
    "spins": (
        HUNT,
        "_NOT_IN_CHANNEL = ",
        "def spin() -> int:\n    while True:\n        pass\n\n\nX = spin()\n_NOT_IN_CHANNEL = ",
        *("E0413", f"{CHECK_MS} ms of processor time"),
    ),
    "memory": (HUNT, "_NOT_IN_CHANNEL = ", "X = (0,) * 10**9\n_N = ", "E0412", "MemoryError"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_broken_is_told_with_its_place(
    box: Bundle, check: Callable[[Bundle], Checked], kind: str
) -> None:
    path, old, new, code, text = BROKEN[kind]
    check(box)  # the broken one is held against it: only what was altered is looked at
    with pytest.raises(OperatorError) as raised:
        check(changed(box, path, old, new))
    assert raised.value.code == code and text in raised.value.cause, raised.value.cause
    if kind != "role":
        assert raised.value.file == path and raised.value.line > 0  # type: ignore[attr-defined]
        assert f"{path}:{raised.value.line}:" in raised.value.cause  # type: ignore[attr-defined]
        assert "^" in raised.value.cause
    assert check(with_a_table(box)).rules > 80, "the next one is not disturbed"


def with_a_table(box: Bundle) -> Bundle:
    """Another table: whatever the checker knows, all roles are looked at."""
    return Bundle({**box.files, "content/more.toml": "one = 1\n"}, box.packages)


def test_roles_that_nothing_altered_are_not_looked_at_again(
    box: Bundle, check: Callable[[Bundle], Checked]
) -> None:
    check(with_a_table(box))
    whole = check(box).rules
    assert whole > 80 and check(box).rules == 0
    hunt = check(Bundle({**box.files, HUNT: box.files[HUNT] + "\n"}, box.packages)).rules
    assert 0 < hunt < whole, "those of channels"
    imported = "systems/items.py"  # in no role's list, imported by many
    assert (
        hunt
        < check(Bundle({**box.files, imported: box.files[imported] + "\n"}, box.packages)).rules
    )


def test_a_bundle_is_what_its_name_says(box: Bundle) -> None:
    assert Bundle.unpacked(box.packed, box.digest).files == box.files
    with pytest.raises(OperatorError, match="not what its name says"):
        Bundle.unpacked(box.packed, "0" * 64)
    with pytest.raises(OperatorError, match="damaged"):
        Bundle.unpacked(b"nonsense", box.digest)
    other = Bundle({**box.files, "systems/more.py": ""}, box.packages)
    assert other.digest != box.digest
    assert other.changed_from(box) == box.changed_from(other) == ["systems/more.py"]


def test_a_new_game_runs_and_its_tests_pass(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    written = write_game(folder)
    assert "game/systems/dice.py" in written and {
        "tests/test_dice.py",
        "tests/test_tips.py",
    } <= set(written)
    config_file = str(folder / "cluster.toml")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests", "-p", "no:cacheprovider"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "5 passed" in done.stdout, done.stdout + done.stderr
    config = load_config(folder / "cluster.toml", {}).config
    assert game_folder(config) == folder / "game"
    bundle = read_sources(config).bundle
    assert {"systems/dice.py", "systems/hunt.py", "content/dice.toml"} <= set(bundle.files)

    async def checked() -> Checked:
        checker = Checker(config_file, CHECK_MS, 256 << 20)
        try:
            return await checker.check(bundle.packed, bundle.digest)
        finally:
            await checker.close()

    assert asyncio.run(checked()).rules > 80
    with pytest.raises(OperatorError) as raised:
        write_game(folder)
    assert raised.value.code == "E0429"


def test_a_new_game_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for place, code in ((file, "E0429"), (file / "below", "E0735")):
        with pytest.raises(OperatorError, match=code) as refused:
            write_game(place)
        assert str(file) in refused.value.cause and refused.value.fix


def test_a_file_of_a_game_takes_the_place_of_the_one_in_the_box(tmp_path: Path) -> None:
    write_game(tmp_path / "mine")
    game = tmp_path / "mine" / "game"
    (game / "content" / "levels.toml").write_text("exp_need = [0, 5, 9]\n", encoding="utf-8")
    (game / "systems" / ".#dice.py").write_text("half a save", encoding="utf-8")
    config = load_config(tmp_path / "mine" / "cluster.toml", {}).config
    bundle = read_sources(config).bundle
    assert bundle.files["content/levels.toml"] == "exp_need = [0, 5, 9]\n"
    assert not any("#" in path for path in bundle.files)


@pytest.mark.parametrize(
    ("path", "code"), [("nowhere", "E0422"), ("not-a-name", "E0422"), ("mine", "E0423")]
)
def test_a_folder_that_is_no_game_is_refused(tmp_path: Path, path: str, code: str) -> None:
    (tmp_path / "not-a-name").mkdir()
    messages = tmp_path / "mine" / "messages"
    messages.mkdir(parents=True)
    (messages / "low.py").write_text(
        "import msgspec\nfrom mmo.wire.codec import message\n\n@message(9_900)\n"
        "class Low(msgspec.Struct, array_like=True):\n    pass\n",
        encoding="utf-8",
    )
    environment = {"MMO__GAME__PATH": str(tmp_path / path)}
    config = load_config(environment=environment).config
    with pytest.raises(OperatorError) as raised:
        import_game(config)
    assert raised.value.code == code
