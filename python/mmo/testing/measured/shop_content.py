"""Content of the measured shop: the tables in the box with a catalogue and a stack of their own.

Owns the directory of tables that a bench of the economy runs on. Everything but the named tables is
what ships. Called by the servers and books of this package.
"""

from pathlib import Path

from mmo.content import Content, load_content
from mmo.content.tables import data_directory

POTION = '[[consumable]]\ncode = 1\nname = "Small Potion"\nstack_max = '
STACK_MAX = 2**53 - 1  # a player of a measured load buys the same thing thousands of times
SEATS = (
    ("channel_users_max = 10", "channel_users_max = 5000"),
    ("server_users_max = 30", "server_users_max = 10000"),
)
NO_PASSES = "page_bytes_max = 8192\n"


def write_content(directory: Path, lines: int = 0, passes: bool = False) -> Content:
    """The tables written to `directory` and loaded. `lines` above 0 makes a catalogue of so many
    lines instead of the one in the box; without `passes` no season runs, so that a purchase moves
    money and goods only."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in data_directory().glob("*.toml"):
        (directory / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    items = directory / "items.toml"
    text = items.read_text(encoding="utf-8")
    assert POTION in text, "the measured item is no longer what it was"
    head, _, tail = text.partition(POTION)
    _, _, rest = tail.partition("\n")
    items.write_text(f"{head}{POTION}{STACK_MAX}\n{rest}", encoding="utf-8")
    channels = directory / "channels.toml"
    text = channels.read_text(encoding="utf-8")
    for before, after in SEATS:
        assert before in text, "a channel server has another number of seats"
        text = text.replace(before, after)
    channels.write_text(text, encoding="utf-8")
    if lines:
        (directory / "shop.toml").write_text(catalogue(lines), encoding="utf-8")
    if not passes:
        (directory / "passes.toml").write_text(NO_PASSES, encoding="utf-8")
    return load_content(directory)


def catalogue(lines: int) -> str:
    """`shop.toml` with so many different lines."""
    rows = ["page_bytes_max = 8192", "quantity_max = 99"]
    for number in range(1, lines + 1):
        rows += ["[[line]]", f"number = {number}", 'kind = "consumable"']
        rows += [f"code = {1 + number % 3}", f"count = {1 + number % 20}", 'currency = "gold"']
        rows += [f"price = {2 + number}", f"days = {number % 31}", f"daily_limit = {number % 7}"]
    return "\n".join(rows) + "\n"
