"""Journeys over a realm without sockets: they reach their end, come back, and notice every lie."""

import json
from typing import Any

import msgspec
from tests.unit.client_realm import Realm

from mmo.client.hunting import hold_on, hunt_while
from mmo.client.journeys import JOURNEYS, walk_guarded
from mmo.client.meter import Meter
from mmo.client.protocol import Token
from mmo.client.session import arrive, move, register, stay_known
from mmo.wire.messages.account import Login
from mmo.wire.messages.hunt import Hit
from mmo.wire.messages.presence import Logout, ServerLeaving
from mmo.wire.opcode import CloseReason


def walk(realm: Realm, name: str = "tour", seconds: float = 5, **policy: Any) -> Meter:
    hero = realm.hero(**policy)
    realm.walk(walk_guarded(hero, JOURNEYS[name], seconds))
    return hero.meter


def test_the_tour_ends_without_an_error_above_its_floor() -> None:
    realm = Realm()
    meter = walk(realm)
    assert meter.findings == []
    assert meter.actions >= JOURNEYS["tour"].floor(5)
    assert realm.player.level >= 3
    assert isinstance(realm.sent[-1], Logout)
    assert sum(isinstance(message, Login) for message in realm.sent) == 3
    assert meter.refusals >= 6


def test_the_same_seed_walks_the_same_way() -> None:
    one, two = Realm(), Realm()
    walk(one)
    walk(two)
    assert one.sent == two.sent


def test_the_hunter_hunts_for_the_given_time() -> None:
    realm = Realm()
    meter = walk(realm, "hunter", 20)
    assert meter.findings == []
    assert meter.actions >= JOURNEYS["hunter"].floor(20)
    assert realm.now >= 1020


def test_the_wanderer_goes_everywhere_and_misses_nothing() -> None:
    realm = Realm()
    meter = walk(realm, "wanderer", 60)
    assert meter.findings == []
    kinds = {type(message).__name__ for message in realm.sent}
    assert {"Move", "Lobby", "Logout", "Hit"} <= kinds
    assert sum(isinstance(message, Login) for message in realm.sent) > 3


def test_a_wanderer_whose_connections_are_lost_misses_nothing() -> None:
    realm = Realm()
    realm.lose_at = set(range(20, 400, 13))
    meter = walk(realm, "wanderer", 30)
    assert meter.findings == []
    assert meter.lost > 5


def test_gold_that_is_gone_after_the_login_is_an_error() -> None:
    realm = Realm()
    realm.forget_gold_at_login = 1
    findings = walk(realm).findings
    assert any("gold" in text for text in findings)


def test_a_kill_without_its_reward_is_an_error() -> None:
    realm = Realm()
    realm.forget_rewards = True
    assert any("reward" in text for text in walk(realm).findings)


def test_an_action_that_is_never_answered_is_an_error() -> None:
    realm = Realm()
    realm.mute_at = {20}
    assert walk(realm).errors >= 1


def test_an_answer_given_twice_is_an_error() -> None:
    realm = Realm()
    realm.answer_twice_at = {20}
    assert any("twice" in text for text in walk(realm).findings)


def test_a_refusal_outside_the_script_is_an_error() -> None:
    realm = Realm()
    realm.names["용사one"] = "someone else's"
    assert any("NAME_TAKEN" in text for text in walk(realm).findings)


def test_retry_later_is_asked_again_until_it_is_answered() -> None:
    realm = Realm()
    realm.retry_at = {2, 12, 13, 25}
    meter = walk(realm)
    assert meter.findings == []
    assert meter.retries >= 4


def test_a_place_that_went_elsewhere_is_looked_for_only_while_servers_are_made_to_fail() -> None:
    whole = Realm()
    walk(whole)
    hits = [at for at, message in enumerate(whole.sent, start=1) if isinstance(message, Hit)]
    for faults in (True, False):
        realm = Realm()
        realm.wrong_place_at = {hits[-1]}
        findings = walk(realm, faults=faults).findings
        assert any("WRONG_PLACE" in text for text in findings) is not faults


def test_patience_ends_in_an_error() -> None:
    realm = Realm()
    realm.retry_at = set(range(12, 5000))
    assert any("no final answer" in text for text in walk(realm, patience_ms=3000).findings)


def test_a_connection_lost_at_any_message_is_survived_with_nothing_missing() -> None:
    whole = Realm()
    walk(whole)
    for number in range(1, len(whole.sent)):
        realm = Realm()
        realm.lose_at = {number}
        meter = walk(realm)
        assert meter.findings == [], f"lost at message {number}"


def test_a_lost_hunt_resumes_by_session_token_without_a_new_login() -> None:
    whole = Realm()
    walk(whole, "hunter")
    logins = sum(isinstance(message, Login) for message in whole.sent)
    realm = Realm()
    realm.lose_at = {30}
    meter = walk(realm, "hunter")
    assert (meter.findings, meter.lost) == ([], 1)
    assert sum(isinstance(message, Login) for message in realm.sent) == logins
    assert any(isinstance(m, Token) and m.text.startswith("session") for m in realm.sent)


def test_a_close_that_blames_the_client_is_an_error() -> None:
    realm = Realm()
    realm.lose_at, realm.lost_reason = {30}, int(CloseReason.RATE_LIMITED)
    assert any("RATE_LIMITED" in text for text in walk(realm, "hunter").findings)


def test_percentiles_are_samples_and_the_summary_has_the_promised_form() -> None:
    meter = Meter()
    for took in range(1, 1001):
        meter.action("Hit", float(took))
    summary = meter.summary("tour", 3)
    assert (summary.p50_ms, summary.p99_ms, summary.p999_ms) == (500, 990, 999)
    meter.action("Login", 5_000.0)
    assert (meter.count("Hit"), meter.count("Login"), meter.count("Buy")) == (1_000, 1, 0)
    assert meter.percentile_ms(0.99, {"Hit"}) == 990
    assert meter.percentile_ms(0.5, {"Login", "Buy"}) == 5_000
    assert meter.percentile_ms(0.5, {"Buy"}) == 0
    fields = list(json.loads(msgspec.json.encode(summary)))
    assert fields == [
        "journey", "players", "actions", "errors", "refusals", "p50_ms", "p99_ms", "p999_ms",
    ]  # fmt: skip


def test_a_hunter_whose_server_leaves_follows_the_token_and_logs_in_once() -> None:
    realm = Realm()
    hero = realm.hero()
    realm.leaving = ServerLeaving(12, "realm", 12, "move 1")
    realm.walk(register(hero))
    realm.walk(arrive(hero))
    assert realm.walk(move(hero, 11))
    realm.walk(hunt_while(hero, lambda: hero.record.kills < 3))
    assert hero.meter.findings == []
    assert hero.game_number == realm.player.place == 12
    assert hero.meter.losses == {"connection to game lost: the server leaves": 1}
    assert len(hero.meter.pauses_ms) == 1 and hero.meter.logins_forced == 0
    assert hero.record.loose == 0
    assert sum(isinstance(message, Login) for message in realm.sent) == 1


def test_a_token_that_came_too_late_leads_back_through_the_center() -> None:
    realm = Realm()
    hero = realm.hero()
    realm.leaving = ServerLeaving(12, "realm", 12, "move 99")
    realm.walk(register(hero))
    realm.walk(arrive(hero))
    assert realm.walk(move(hero, 11))
    realm.walk(hunt_while(hero, lambda: hero.record.kills < 3))
    assert hero.meter.findings == [] and hero.meter.logins_forced == 0
    assert hero.game_number == realm.player.place == 11
    assert sum(isinstance(message, Login) for message in realm.sent) == 1


def test_a_center_that_says_it_leaves_is_left_and_the_game_goes_on_undisturbed() -> None:
    realm = Realm()
    hero = realm.hero()
    realm.walk(register(hero))
    realm.walk(arrive(hero))
    assert realm.walk(move(hero, 11))
    hero.hear(ServerLeaving(3, "realm", 3))
    tokens = sum(isinstance(message, Token) for message in realm.sent)
    realm.walk(hold_on(hero, lambda: stay_known(hero)))
    assert hero.center == ("realm", 3) and not hero.center_leaves
    assert realm.lanes["game"] == 11
    assert sum(isinstance(message, Token) for message in realm.sent) == tokens + 1


def test_a_center_that_is_gone_for_good_is_replaced_by_another_that_it_told_of() -> None:
    realm = Realm()
    hero = realm.hero()
    realm.walk(register(hero))
    realm.walk(arrive(hero))
    assert realm.walk(move(hero, 11))
    realm.deaf_ports = {2}
    realm.lanes.pop("center")
    realm.walk(hold_on(hero, lambda: stay_known(hero)))
    assert hero.center == ("realm", 3)
    assert hero.meter.findings == [] and hero.meter.logins_forced == 0
