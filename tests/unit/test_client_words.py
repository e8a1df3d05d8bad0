"""The game by typed words, over a realm without sockets."""

import pytest
from tests.unit.client_realm import Realm

from mmo.client.words import come_in, say
from mmo.wire.opcode import Code


def play(*lines: str) -> tuple[Realm, list[list[str]]]:
    realm = Realm()
    hero = realm.hero()
    told = [realm.walk(come_in(hero))]
    told += [realm.walk(say(hero, line)) for line in lines]
    return realm, told


def test_a_new_name_is_registered_and_stands_in_the_lobby() -> None:
    _, told = play()
    assert told[0][0] == "registered 용사one"
    assert told[0][-1].endswith("in the lobby")


def test_a_wrong_password_of_a_known_name_is_said() -> None:
    realm = Realm()
    realm.names["용사one"] = "another password"
    assert realm.walk(come_in(realm.hero())) == ["wrong password"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (Code.LOCKED_OUT, "too many wrong passwords: wait 60 s"),
        (Code.BANNED, "this account is shut for 60 s more"),
    ],
)
def test_who_is_kept_out_is_told_for_how_long(code: Code, said: str) -> None:
    realm = Realm()
    hero = realm.hero()
    realm.names[hero.name], realm.kept_out = hero.password, int(code)
    assert realm.walk(come_in(hero)) == [said]


def test_hunting_finds_its_own_way_into_a_channel() -> None:
    realm, told = play("hunt 3", "bag")
    assert told[1][0] == "3 killed, 15 gold, 3 new items"
    assert realm.player.gold == 15
    assert len(told[2]) == 3


def test_moving_names_the_server() -> None:
    realm, told = play("move 12", "who", "servers", "lobby")
    assert "server 12" in told[1][0]
    assert told[2] == told[1]
    assert len(told[3]) == 2
    assert realm.player.place == 2


def test_the_ranking_is_shown_from_a_place_on() -> None:
    _, told = play("ranking", "ranking 3")
    assert [line.split() for line in told[1][:3]] == [
        ["1", "raider1", "899"],
        ["2", "raider2", "898"],
        ["3", "raider3", "897"],
    ]
    assert told[1][3] == "season 1: you are 2 of 3"
    assert told[2][0].split() == ["3", "raider3", "897"]
    assert told[2][1] == "season 1: you have no score yet"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("dance", "no word"),
        ("hunt many", "takes a number"),
        ("move 99", "SERVER_UNKNOWN"),
        ("channel 77", "CHANNEL_UNKNOWN"),
    ],
)
def test_nonsense_is_answered_with_a_line(line: str, said: str) -> None:
    _, told = play(line)
    assert said in told[1][0]


def test_every_word_is_in_the_help() -> None:
    _, told = play("help", "look", "channels", "channel", "ping", "out")
    assert {"hunt", "look", "bag", "quit"} <= {line.split()[0] for line in told[1]}
    assert told[-1] == ["logged out"]
