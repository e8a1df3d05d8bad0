"""The judges of the proof of reloads can say no: rooms, cuts, answers that come too late."""

import random

import pytest

from mmo.client.meter import Cut
from mmo.proof.arena import Arena
from mmo.proof.injuries import Blow, Injuries
from mmo.proof.live_code import Seen, backwards
from mmo.proof.live_rooms import outlived, room_faults
from mmo.proof.verdict import Trial

WORDS = {1: 10, 2: 20}


def seen(generation: int, sent_s: float, raid: int = 7, word: int = 0) -> Seen:
    """An answer that came a tenth of a second after its question."""
    return Seen(sent_s, sent_s + 0.1, generation, word or WORDS[generation], raid)


def test_one_generation_from_beginning_to_end_is_right() -> None:
    assert room_faults([seen(1, 1.0), seen(1, 9.0), seen(2, 2.0, raid=8)], {}, WORDS) == []


@pytest.mark.parametrize(
    "answers",
    [
        [seen(1, 1.0), seen(2, 2.0)],
        [seen(2, 1.0), seen(1, 2.0)],
        [seen(1, 1.0, word=20)],
    ],
)
def test_a_room_of_two_generations_is_named(answers: list[Seen]) -> None:
    faults = room_faults(answers, {}, WORDS)
    assert faults and all("raid 7" in text for text in faults)


def test_a_takeover_allows_a_newer_generation_and_never_an_older_one() -> None:
    assert room_faults([seen(1, 1.0), seen(2, 2.0)], {7: 1}, WORDS) == []
    assert room_faults([seen(1, 1.0), seen(2, 2.0), seen(1, 3.0)], {7: 1}, WORDS)


def test_rooms_that_outlive_a_switch_are_counted() -> None:
    elsewhere = [seen(1, 0.0, raid=0), seen(2, 5.0, raid=0)]
    rooms = [seen(1, 4.0), seen(1, 6.0), seen(1, 4.9, raid=8), seen(2, 9.0, raid=9)]
    assert outlived(rooms, elsewhere) == 1


def test_an_answer_by_a_generation_that_is_over_is_named() -> None:
    assert backwards([seen(1, 1.0), seen(2, 1.0), seen(1, 1.05)]) == []
    assert len(backwards([seen(1, 1.0), seen(2, 1.0), seen(1, 1.2)])) == 1


def test_only_the_killed_server_explains_a_cut(tmp_path: object) -> None:
    from pathlib import Path

    assert isinstance(tmp_path, Path)
    trial = Trial("reload", lambda _: None)
    injuries = Injuries(Arena(tmp_path), trial, random.Random(1))
    injuries.blows.append(Blow("channel", 7101, 10.0, 15.0))
    right = [Cut(10.5, "game", 7101), Cut(11.0, "game", 0)]
    wrong = [Cut(10.5, "game", 7102), Cut(9.0, "game", 7101), Cut(16.0, "game", 7101),
             Cut(11.0, "center", 0)]  # fmt: skip
    assert injuries.unexplained([*right, *wrong]) == wrong
