"""What the checks found, by name, and how often.

Owns the list and the names of the checks. Filled by the checks, printed by the command.
"""

TEXTS_MAX = 25
"""Findings of one name that are kept as text; all are counted."""

CHECKS = {
    "acknowledged": "every acknowledged operation is in the log once, with the bytes told",
    "unknown": "an operation without an answer happened once or not at all, and a retry agrees",
    "books": "balances, items and answers are what the lines of the books add up to, and items lie "
    "as the log told last",
    "versions": "versions of a player follow each other, and every line has one",
    "order": "what was acknowledged before something else began is not ordered after it, and is "
    "told on arrival",
    "owner": "only the server that claimed a player last acknowledges anything of him, and no "
    "token of an older session lets him in",
    "once": "tokens, payments, grants and attempts happen once, who stays is given his rewards and "
    "payments, rolls are those of a published key",
    "raids": "a raid ends once, as told; its rewards come once, to its members; the board is right",
    "cache": "Redis is never ahead of MySQL, and not behind after the bound",
    "available": "operations succeed again after every fault, and none meets a server's own fault",
}


class Findings:
    """Texts and counts."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str, str]] = []  # check, name, text
        self.counts: dict[str, int] = {}

    def add(self, check: str, name: str, text: str) -> None:
        """One thing that does not hold: which check found it, its short name, and what it is."""
        assert check in CHECKS, check
        key = f"{check}/{name}"
        self.counts[key] = self.counts.get(key, 0) + 1
        if self.counts[key] <= TEXTS_MAX:
            self.texts.append((check, name, text))

    def count(self, *names: str) -> int:
        """How many findings carry one of the names."""
        return sum(count for key, count in self.counts.items() if key.partition("/")[2] in names)
