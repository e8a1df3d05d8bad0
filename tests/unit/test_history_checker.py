"""The checker of histories: each of its checks finds what it is for, and nothing in a clean
history."""

import hashlib
import hmac
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mmo.proof.checker import arrivals, cache, operations
from mmo.proof.checker import books as money
from mmo.proof.checker.findings import Findings
from mmo.proof.checker.history import Claim, Fault, History, request_hash
from mmo.proof.checker.truth import Event, PlayerBooks
from mmo.proof.history import History as Written
from mmo.proof.nemesis import MENU
from mmo.wire import codec
from mmo.wire.messages.presence import ItemView, Welcome
from mmo.wire.messages.shop import Buy, BuyOk
from mmo.wire.opcode import Code, Op

NAME, USER, PORT = "ann", 7, 7110
BUY = codec.encode(Buy((1, 1), 5, 3, 2, 10))
BOUGHT = codec.encode(BuyOk(3, 2, 0, 20, 80, 0, 0, []))
KEY = b"k" * 32


def written(directory: Path, write: Callable[[Written], None]) -> History:
    """What the checker reads of what is written."""
    with closing(Written(directory)) as history:
        write(history)
    return History(directory)


def bought(history: Written) -> None:
    history.asked((NAME, 1, 1), PORT, int(Op.BUY), BUY)
    history.answered((NAME, 1, 1), PORT, int(Op.BUY_OK), BOUGHT, 0, BUY)


def player(**changed: Any) -> PlayerBooks:
    """Ann with 100 gold of a grant, who bought for 20."""
    books = PlayerBooks(USER, 2, 1, 0, 2, 1, 0, (80, 0, 0), 0)
    books.events = [
        Event(0, 1, 1, 412, b"g" * 8, (413, b"")),
        Event(1, 1, 2, 702, request_hash(702, BUY), (703, BOUGHT)),
    ]
    books.lines = [(1, 3, 0, 100), (2, 101, 0, -20)]
    books.grants = [(3, 1, msgspec.msgpack.encode([100, 0, 0, 0, []]), 1)]
    for name, value in changed.items():
        setattr(books, name, value)
    return books


def judged(history: History, books: PlayerBooks) -> Findings:
    found = Findings()
    mine = list(history.operations.items())
    claims = list(history.claims.values())
    operations.check_operations(books, mine, found)
    operations.check_versions(books, found)
    operations.check_order(books, mine, found)
    operations.check_owner(mine, claims, found)
    money.check_books(books, mine, found)
    money.check_grants(books, found)
    money.check_rolls(books, {20260101: KEY}, found)
    money.check_tokens(claims, found)
    arrivals.check_arrivals(books, mine, claims, found)
    return found


def test_a_clean_history_has_no_finding(tmp_path: Path) -> None:
    history = written(tmp_path, bought)
    assert judged(history, player()).counts == {}
    assert history.operations[NAME, 1, 1].answers[0][1] == PORT


def events(*changed: Event) -> list[Event]:
    return [player().events[0], *changed]


OTHER = request_hash(702, b"other")
SAID = Event(1, 1, 2, 702, request_hash(702, BUY), (703, BOUGHT))


@pytest.mark.parametrize(
    ("changed", "finding"),
    [
        ({"events": events()}, "acknowledged/lost"),
        ({"events": events(Event(1, 1, 2, 702, SAID.hash, (703, b"")))}, "acknowledged/differs"),
        (
            {"events": events(Event(1, 1, 2, 702, OTHER, SAID.answer))},
            "acknowledged/another-request",
        ),
        (
            {"events": [*events(SAID), Event(1, 2, 3, 702, OTHER, (703, b""))], "version": 3},
            "acknowledged/never-sent",
        ),
        (
            {"events": [*events(SAID), Event(0, 3, 3, 702, SAID.hash, (703, b""))], "version": 3},
            "acknowledged/duplicated",
        ),
        ({"version": 3}, "versions/head"),
        ({"events": events(Event(1, 1, 3, 702, SAID.hash, SAID.answer))}, "versions/gap"),
        ({"lines": [(1, 3, 0, 100), (9, 101, 0, -20)]}, "versions/line"),
        ({"coins": (81, 0, 0)}, "books/balance"),
        ({"lines": [(1, 3, 0, 100), (2, 101, 0, -19)], "coins": (81, 0, 0)}, "books/balance-told"),
        ({"births": [(1, 44, 1, 2)]}, "books/item"),
        ({"lines": [(1, 3, 0, 200), (2, 101, 0, -20)], "coins": (180, 0, 0)}, "books/grant"),
        (
            {"grants": [(3, 1, msgspec.msgpack.encode([100, 0, 0, 0, [[0, 1, 1, 0]]]), 1)]},
            "books/grant-items",
        ),
        ({"births": [(1, 44, 1, 2)], "items": {44: (0, 0, 1, 2, 0, 0, 0, 0)}}, "books/grant-items"),
        ({"attempts": [(5, 1, 2, 20260101, 1, 0, 1, 10**6, 3)]}, "once/roll"),
        ({"attempts": [(5, 2, 2, 20260101, 1, 0, 1, 10**6, 3)]}, "once/attempt"),
        ({"claims": [(1, 1, 0, 2), (1, 1, 0, 2)]}, "once/pass-claim"),
    ],
)
def test_each_fault_of_the_books_is_found_by_name(
    tmp_path: Path, changed: dict[str, Any], finding: str
) -> None:
    assert finding in judged(written(tmp_path, bought), player(**changed)).counts


def welcomed(history: Written, gold: int, items: list[ItemView]) -> None:
    """Ann is told what she owns as she arrives."""
    told = Welcome(USER, NAME, 1, 1, 2, 1, 0, gold, 0, 0, 0, 0, items, [], [])
    claim = history.claims(NAME, PORT, "token", "")
    history.claimed(claim, int(Op.WELCOME), codec.encode(told))


@pytest.mark.parametrize(
    ("before", "after", "is_true"),
    [((100, []), (80, []), True), ((80, []), (80, []), False), ((100, []), (100, []), False)],
)
def test_a_welcome_tells_what_was_acknowledged_before_and_nothing_that_comes_after(
    tmp_path: Path, before: Any, after: Any, is_true: bool
) -> None:
    def write(history: Written) -> None:
        welcomed(history, *before)
        bought(history)
        welcomed(history, *after)

    counts = judged(written(tmp_path, write), player()).counts
    assert counts == ({} if is_true else {"order/stale-arrival": 1})


def test_a_welcome_tells_the_items_of_the_books(tmp_path: Path) -> None:
    item = ItemView(44, 0, 0, 1, 2, 0)
    births = [(2, 43, 1, 1), (2, 43, 1, -1), (2, 44, 1, 2)]  # one is no more
    books = {"births": births, "items": {44: (0, 0, 1, 2, 0, 0, 0, 0)}}

    def write(items: list[ItemView]) -> Callable[[Written], None]:
        def both(history: Written) -> None:
            bought(history)
            welcomed(history, 80, items)

        return both

    assert not judged(written(tmp_path / "a", write([item])), player(**books)).counts
    assert judged(written(tmp_path / "b", write([])), player(**books)).counts == {
        "order/stale-arrival": 1
    }


def test_a_fault_that_a_server_owns_up_to_is_found(tmp_path: Path) -> None:
    def write(history: Written) -> None:
        history.asked((NAME, 1, 2), PORT, int(Op.BUY), OTHER)
        history.answered((NAME, 1, 2), PORT, int(Op.REFUSED), b"", int(Code.INTERNAL))
        bought(history)

    assert judged(written(tmp_path, write), player()).counts == {"available/internal": 1}


def test_a_second_answer_that_differs_is_found(tmp_path: Path) -> None:
    def twice(history: Written) -> None:
        bought(history)
        history.answered((NAME, 1, 1), PORT, int(Op.BUY_OK), b"\x90", 0, BUY)

    assert "acknowledged/answered-twice" in judged(written(tmp_path, twice), player()).counts


def test_a_refusal_of_what_was_done_is_found(tmp_path: Path) -> None:
    def refused(history: Written) -> None:
        history.asked((NAME, 1, 1), PORT, int(Op.BUY), BUY)
        history.answered((NAME, 1, 1), PORT, int(Op.REFUSED), b"", int(Code.NOT_ENOUGH_GOLD))

    assert "unknown/refused-yet-done" in judged(written(tmp_path, refused), player()).counts


def test_a_refusal_of_one_copy_decides_nothing_while_another_is_on_its_way(tmp_path: Path) -> None:
    def refused(history: Written) -> None:
        history.asked((NAME, 1, 1), PORT, int(Op.BUY), BUY)
        history.asked((NAME, 1, 1), PORT, int(Op.BUY), BUY)
        history.answered((NAME, 1, 1), PORT, int(Op.REFUSED), b"", int(Code.NOT_ENOUGH_GOLD))
        history.unanswered((NAME, 1, 1), PORT)

    assert judged(written(tmp_path, refused), player()).counts == {}


def test_a_refusal_after_a_copy_was_given_up_is_final(tmp_path: Path) -> None:
    def refused(history: Written) -> None:
        history.asked((NAME, 1, 1), PORT, int(Op.BUY), BUY)
        history.unanswered((NAME, 1, 1), PORT)
        history.asked((NAME, 1, 1), PORT, int(Op.BUY), BUY)
        history.answered((NAME, 1, 1), PORT, int(Op.REFUSED), b"", int(Code.NOT_ENOUGH_GOLD))

    assert "unknown/refused-yet-done" in judged(written(tmp_path, refused), player()).counts


@pytest.mark.parametrize(("body", "is_found"), [(BUY, False), (BOUGHT, True)])
def test_what_was_never_answered_was_done_as_it_was_sent_or_not_at_all(
    tmp_path: Path, body: bytes, is_found: bool
) -> None:
    def silent(history: Written) -> None:
        history.asked((NAME, 1, 1), PORT, int(Op.BUY), BUY)
        history.unanswered((NAME, 1, 1), PORT)

    done = Event(1, 1, 2, 702, request_hash(702, body), (703, BOUGHT))
    counts = judged(written(tmp_path, silent), player(events=events(done))).counts
    assert counts == ({"unknown/another-request": 1} if is_found else {})


def test_a_request_to_come_again_decides_nothing(tmp_path: Path) -> None:
    def later(history: Written) -> None:
        history.asked((NAME, 1, 1), PORT, int(Op.BUY), BUY)
        history.answered((NAME, 1, 1), PORT, int(Op.REFUSED), b"", int(Code.RETRY_LATER))
        assert (NAME, 1, 1) in history.unknown
        history.unanswered((NAME, 1, 1), PORT)

    assert judged(written(tmp_path, later), player()).counts == {}


def test_an_order_that_time_contradicts_is_found(tmp_path: Path) -> None:
    second = codec.encode(Buy((1, 2), 5, 3, 2, 10))

    def reversed_in_the_log(history: Written) -> None:
        bought(history)
        history.asked((NAME, 1, 2), PORT, int(Op.BUY), second)
        history.answered((NAME, 1, 2), PORT, int(Op.BUY_OK), BOUGHT, 0, second)

    books = player(version=3)
    books.events = [
        books.events[0],
        Event(1, 2, 2, 702, request_hash(702, second), (703, BOUGHT)),
        Event(1, 1, 3, 702, SAID.hash, SAID.answer),
    ]
    assert "order/reversed" in judged(written(tmp_path, reversed_in_the_log), books).counts


@pytest.mark.parametrize(
    ("port", "what", "opcode", "is_stale"),
    [
        (7111, "token", Op.WELCOME, True),  # another server claimed him
        (7111, "token", Op.REFUSED, False),  # it did not
        (PORT, "token", Op.WELCOME, False),  # the same server claimed him
        (7100, "login", Op.LOGIN_OK, True),  # a second device logged in
    ],
)
def test_who_acknowledges_after_another_claimed_is_found(
    tmp_path: Path, port: int, what: str, opcode: Op, is_stale: bool
) -> None:
    def moved(history: Written) -> None:
        history.claimed(history.claims(NAME, port, what, ""), int(opcode), b"")
        bought(history)

    found = judged(written(tmp_path, moved), player()).counts
    assert ("owner/stale-owner" in found) is is_stale


@pytest.mark.parametrize(
    ("typ", "opcode"), [("move+jwt", Op.WELCOME), ("raid+jwt", Op.RAID_ENTERED)]
)
def test_a_token_that_lets_in_twice_is_found(typ: str, opcode: Op) -> None:
    claims = [Claim(NAME, PORT, "token", "hash", typ, at, at + 1, int(opcode)) for at in (1, 9)]
    found = Findings()
    money.check_tokens(claims, found)
    money.check_tokens([Claim(NAME, PORT, "token", "x", "session+jwt", 1, 2, 300)] * 2, found)
    assert found.counts == {"once/token": 1}


def test_payments_are_booked_once_as_sent(tmp_path: Path) -> None:
    def paid(history: Written) -> None:
        for order, amount in (("a", 5), ("b", 6), ("c", 7)):
            history.line("payment", order=order, account=NAME, amount=amount)
            history.line("booked", order=order)

    history = written(tmp_path, paid)
    cash = msgspec.msgpack.encode([0, 5, 0, 0, []])
    orders = {"a": [(1, USER, 5)], "b": [(2, USER, 60)], "d": [(4, USER, 1)]}
    grants: dict[int, list[tuple[int, int, bytes, int | None]]] = {
        USER: [(1, 1, cash, None), (1, 2, cash, None)]
    }
    found = Findings()
    money.check_payments(history.payments, {NAME: USER}, orders, grants, found)
    assert found.counts == {"once/payment": 2, "once/payment-lost": 1, "once/payment-grant": 1}


def test_redis_ahead_behind_and_going_back_are_found(tmp_path: Path) -> None:
    def seen(history: Written) -> None:
        for at, held, head in ((0, 3, 3), (1, 5, 4), (30, 2, 9), (31, 2, 9)):
            history.line("sample", at=at * 10**9, redis={USER: held}, mysql={USER: head})

    history, found = written(tmp_path, seen), Findings()
    assert cache.check_samples(history, 8 * 10**9, found) == (4, 2)
    assert found.counts == {"cache/ahead": 1, "cache/behind": 1, "cache/went-back": 1} | {
        "cache/behind": 2
    }
    for what in ("kill-channel", "clock-jump", "cut-links", "kill-redis-replica"):
        history.faults.append(Fault(what, "", 0, 40 * 10**9, 41 * 10**9))
    unforgiven = Findings()
    cache.check_samples(history, 8 * 10**9, unforgiven)
    assert unforgiven.counts == found.counts, "the others repair it"
    history.faults.append(Fault("flush-redis", "", 0, 40 * 10**9, 41 * 10**9))
    emptied = Findings()
    assert cache.check_samples(history, 8 * 10**9, emptied) == (4, 2)
    assert emptied.counts == {"cache/ahead": 1, "cache/behind": 2}
    history.faults.append(Fault("stop-redis", "", 0, 40 * 10**9, 41 * 10**9))
    forgiven = Findings()
    assert cache.check_samples(history, 8 * 10**9, forgiven) == (4, 0)
    assert forgiven.counts == {"cache/ahead": 1}


def test_redis_is_behind_from_the_moment_before_it_was_read(tmp_path: Path) -> None:
    """MySQL took nine seconds to answer: what Redis showed before it was one second late."""

    def seen(history: Written) -> None:
        for looked, at, held, head in ((0, 1, 2, 3), (2, 11, 2, 3), (11, 12, 2, 3)):
            moments = {"looked": looked * 10**9, "at": at * 10**9}
            history.line("sample", **moments, redis={USER: held}, mysql={USER: head})

    history, found = written(tmp_path, seen), Findings()
    assert cache.check_samples(history, 8 * 10**9, found) == (3, 1)
    assert found.counts == {"cache/behind": 1}, "the last one: ten seconds after it was seen"
    history.faults.append(Fault("stop-mysql", "", 0, 2 * 10**9, 3 * 10**9))
    forgiven = Findings()
    assert cache.check_samples(history, 8 * 10**9, forgiven) == (3, 0)


def test_redis_goes_back_from_the_moment_before_it_was_read(tmp_path: Path) -> None:
    """What excuses a version is a fault that was there up to a bound before it was first read, not
    up to one before MySQL answered then."""

    def seen(history: Written) -> None:
        for looked, at, held in ((20, 21, 3), (22, 31, 2)):
            moments = {"looked": looked * 10**9, "at": at * 10**9}
            history.line("sample", **moments, redis={USER: held}, mysql={USER: 3})

    history = written(tmp_path, seen)
    for recovered, is_found in ((11, True), (12, False)):
        history.faults = [Fault("flush-redis", "", 0, 10**9, recovered * 10**9)]
        found = Findings()
        cache.check_samples(history, 8 * 10**9, found)
        assert ("cache/went-back" in found.counts) == is_found


def test_a_fault_of_which_nobody_knows_excuses_and_has_no_time_of_recovery(tmp_path: Path) -> None:
    def seen(history: Written) -> None:
        for at, held in ((1, 3), (2, 2)):
            history.line("sample", at=at * 10**9, redis={USER: held}, mysql={USER: 3})
        moments = {"began": 10**9, "ended": 10**9, "recovered": 2 * 10**9}
        history.line("fault", what="flush-redis", target="", **moments, uncertain=True)

    history, found = written(tmp_path, seen), Findings()
    cache.check_samples(history, 8 * 10**9, found)
    assert cache.check_recovery(history.faults, 60, found) == {}
    assert not found.counts


def test_the_faults_that_excuse_are_those_of_the_menu() -> None:
    assert {*cache.CACHE_FAULTS, *cache.REPAIR_FAULTS} < set(MENU)


def test_a_snapshot_must_be_the_head_and_its_items() -> None:
    books = player()
    row = [2, 1, 0, 80, 0, 0, 0, [], [], []]
    for held, finding in (
        ((2, [USER, row]), {}),
        ((1, [USER, row]), {"cache/stale": 1}),
        ((3, [USER, row]), {"cache/ahead": 1}),
        ((2, [8, row]), {"cache/content": 1}),
        ((2, [USER, [*row[:3], 81, *row[4:]]]), {"cache/content": 1}),
        ((2, [USER, [*row[:7], [{"uid": 1, "count": 1}], [], []]]), {"cache/content": 1}),
    ):
        found = Findings()
        assert cache.check_cache(books, held, found)
        assert found.counts == finding
    assert not cache.check_cache(books, None, Findings())


def test_recovery_is_told_by_kind_and_its_absence_is_found() -> None:
    faults = [
        Fault("kill-channel", "channel-1", 0, 10**9, 3 * 10**9),
        Fault("kill-channel", "channel-2", 0, 10**9, 2 * 10**9),
        Fault("stop-mysql", "mysql", 0, 10**9, 0),
    ]
    found = Findings()
    told = cache.check_recovery(faults, 60, found)
    assert told == {
        "kill-channel": {"count": 2, "p50_ms": 1000.0, "p99_ms": 2000.0, "max_ms": 2000.0}
    }
    assert found.counts == {"available/not-recovered": 1}


def test_keys_must_be_those_promised_and_rolls_those_of_the_key() -> None:
    master = b"m" * 32
    due = hmac.digest(master, b"mmo roll key 20260101", "sha256")
    found = Findings()
    promised = {20260101: (hashlib.sha256(due).digest(), b"")}
    assert money.keys_of(promised, master, found) == {20260101: due}
    assert not found.counts
    money.keys_of({20260101: (b"x" * 32, due)}, b"", found)
    assert found.counts == {"once/key": 1}


def test_a_line_cut_by_the_end_of_its_writer_is_passed_over(tmp_path: Path) -> None:
    with closing(Written(tmp_path)) as history:
        bought(history)
    (file,) = tmp_path.glob("*.jsonl")
    file.write_bytes(file.read_bytes() + json.dumps({"kind": "intent"}).encode()[:-4])
    assert list(History(tmp_path).operations) == [(NAME, 1, 1)]


def test_every_bug_can_still_be_planted() -> None:
    """Each in a process of its own, forked when all is loaded."""
    plant_all = """
import os
from mmo.testing.planted import BUGS, plant
for name in BUGS:
    if (pid := os.fork()) == 0:
        plant(name)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0, name
"""
    done = subprocess.run(
        [sys.executable, "-c", plant_all], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_bugs_and_the_faults_they_are_looked_for_under_have_the_same_names() -> None:
    from mmo.proof.nemesis import chosen
    from mmo.proof.planted import SHORT, UNDER
    from mmo.testing.planted import BUGS

    assert set(UNDER) == set(BUGS)
    assert len(BUGS) >= 20
    assert set(SHORT) <= set(BUGS)
    assert all(chosen(words) for words in UNDER.values())


def test_the_checker_knows_no_bug_by_name() -> None:
    """Nor where a home would say one: what it finds it finds in the books."""
    from mmo.cluster.home import Home
    from mmo.proof.planted import UNDER

    sources = Path(money.__file__).parent.glob("*.py")
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    assert "check_payments" in text
    for word in (*UNDER, Home(Path()).planted_bug.name):
        assert word not in text
