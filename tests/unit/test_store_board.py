"""The board in Redis without a Redis: its keys and members, and what a strange answer becomes."""

import itertools
import random

from redis.crc import key_slot

from mmo.store.board import keys_of, member_of


def test_all_keys_of_a_season_lie_in_one_slot() -> None:
    for season in (1, 2, 10_000):
        slots = {key_slot(key.encode()) for key in keys_of(season)}
        assert len(slots) == 1
    assert len({key for season in (1, 11, 111) for key in keys_of(season)}) == 9


def test_members_as_text_stand_in_the_order_of_users() -> None:
    rng = random.Random(3)
    users = sorted({1, 9, 10, 2**63 - 1, *(rng.getrandbits(63) for _ in range(200))})
    assert all(member_of(a) < member_of(b) for a, b in itertools.pairwise(users))
    assert [int(member_of(user)) for user in users] == users
