//! Hostile clients: whatever they send, the core goes on and nobody else notices.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::time::Duration;

use mmo_core::error::CloseReason;
use mmo_core::ids::{ConnId, opcode};
use world::{ACT, HEADER, HELLO, World, claims, frame, now_s, signed, token};

/// Sends `bytes` on a fresh connection; the reason for which it is closed.
fn refused(world: &mut World, bytes: &[u8]) -> CloseReason {
    let mut client = world.client();
    let conn = world.until(|seen| seen.opcode == opcode::OPENED).conn;
    client.raw(bytes);
    let told = client.closing();
    let reason = world.closed(conn);
    assert!(
        told.is_none_or(|told| told == reason),
        "told {told:?}, closed {reason:?}"
    );
    reason
}

#[test]
fn attack_garbage_of_any_kind_is_closed_and_counted() {
    let mut world = World::new();
    let mut state = 1u64;
    for round in 0..200u32 {
        let length = 4 + (round as usize * 7) % 400;
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                state.to_be_bytes()[0]
            })
            .collect();
        let mut client = world.client();
        let conn = world.until(|seen| seen.opcode == opcode::OPENED).conn;
        client.raw(&bytes);
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        world.closed(conn);
    }
    assert_eq!(
        refused(&mut world, b"GET / HTTP/1.1\r\n\r\n"),
        CloseReason::FrameTooLarge
    );
    assert_eq!(refused(&mut world, &[0; 64]), CloseReason::ProtocolError);
    assert_eq!(refused(&mut world, &[0xff; 64]), CloseReason::FrameTooLarge);
    world.assert_serves();
}

#[test]
fn attack_oversize_is_refused_from_its_length_alone() {
    let mut world = World::new();
    for length in [2_049u32, 16_001, 1 << 20, u32::MAX] {
        assert_eq!(
            refused(&mut world, &length.to_le_bytes()),
            CloseReason::FrameTooLarge
        );
    }
    let (mut client, conn) = world.player(1);
    assert!(client.raw(&16_001u32.to_le_bytes()));
    assert_eq!(world.closed(conn), CloseReason::FrameTooLarge);
    for length in 0..6u32 {
        assert_eq!(
            refused(&mut world, &length.to_le_bytes()),
            CloseReason::ProtocolError
        );
    }
    world.assert_serves();
}

#[test]
fn attack_every_opcode_that_is_not_open_is_refused() {
    let mut world = World::new();
    for number in (0..=1_000).chain([65_535]) {
        let expected = match number {
            HELLO | 200 | opcode::ENTER => continue,
            16..=99 | world::PING | ACT | 501 => CloseReason::ForbiddenOpcode,
            _ => CloseReason::UnknownOpcode,
        };
        assert_eq!(
            refused(&mut world, &frame(number, 1, b"")),
            expected,
            "opcode {number}"
        );
    }
    let (mut client, conn) = world.player(1);
    client.send(200, 1, b"login again");
    assert_eq!(world.closed(conn), CloseReason::ForbiddenOpcode);
    world.assert_serves();
}

#[test]
fn attack_second_enter_closes() {
    let mut world = World::new();
    let (mut client, conn) = world.player(1);
    client.send(opcode::ENTER, 2, &token(2));
    assert_eq!(client.closing(), Some(CloseReason::ForbiddenOpcode));
    let closed = world.next(opcode::CLOSED);
    assert_eq!(
        (closed.conn, closed.user),
        (conn, 1),
        "and nobody became user 2"
    );
}

#[test]
fn attack_enter_where_no_tokens_are_taken_is_unknown() {
    let mut world = World::with(|settings| settings.token_types.clear());
    let bytes = frame(opcode::ENTER, 1, &token(1));
    assert_eq!(refused(&mut world, &bytes), CloseReason::UnknownOpcode);
}

/// A good token with each single bit altered, cut, or lengthened.
fn altered() -> Vec<Vec<u8>> {
    let good = token(7);
    let mut all = Vec::new();
    for bit in 0..good.len() * 8 {
        let mut altered = good.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        all.push(altered);
    }
    for cut in [0, 1, 20, good.len() - 1] {
        all.push(good[..cut].to_vec());
    }
    all.extend([
        b"..".to_vec(),
        b"...".to_vec(),
        [&good[..], b"."].concat(),
        [&good[..], b"="].concat(),
        [&good[..], b"\n"].concat(),
        [b" ", &good[..]].concat(),
        vec![b'.'; 1_000],
        vec![b'A'; 1_024],
        vec![0; 100],
    ]);
    all
}

/// Headers that were signed with the right key and must not be believed.
fn wrong_headers() -> Vec<Vec<u8>> {
    let claims = claims(7);
    let headers = [
        r#"{"alg":"none","typ":"session+jwt","kid":"key-1"}"#,
        r#"{"alg":"HS256","typ":"session+jwt","kid":"key-1"}"#,
        r#"{"alg":"eddsa","typ":"session+jwt","kid":"key-1"}"#,
        r#"{"alg":"EdDSA","typ":"JWT","kid":"key-1"}"#,
        r#"{"alg":"EdDSA","typ":"login+jwt","kid":"key-1"}"#,
        r#"{"alg":"EdDSA","kid":"key-1"}"#,
        r#"{"alg":"EdDSA","typ":"session+jwt"}"#,
        r#"{"typ":"session+jwt","kid":"key-1"}"#,
        r#"{"alg":"EdDSA","typ":"session+jwt","kid":"key-2"}"#,
        r#"{"alg":"EdDSA","typ":"session+jwt","kid":"../key-1"}"#,
        r#"{"alg":"EdDSA","typ":"session+jwt","kid":1}"#,
        r#"{"alg":"EdDSA","typ":"session+jwt","kid":"key-1","crit":["exp"]}"#,
        r#"{"alg":"EdDSA","typ":"session+jwt","kid":"key-1","jku":"http://x"}"#,
        r#"{"alg":"EdDSA","typ":"session+jwt","kid":"key-1","alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","typ":"session+jwt","kid":"key-1"} x"#,
        r#"[{"alg":"EdDSA"}]"#,
        "null",
        "",
    ];
    headers
        .iter()
        .map(|header| signed(header, &claims))
        .collect()
}

/// Claims that were signed with the right key and must not be believed.
fn wrong_claims() -> Vec<Vec<u8>> {
    let claims = claims(7);
    let change = |from: &str, to: &str| claims.replacen(from, to, 1);
    let without = |name: &str| {
        let begin = claims.find(&format!("\"{name}\"")).unwrap();
        let end = claims[begin..]
            .find(',')
            .map_or(claims.len() - 1, |end| begin + end + 1);
        format!("{}{}", &claims[..begin], &claims[end..]).replace(",}", "}")
    };
    let mut bodies: Vec<String> = ["iss", "aud", "sub", "exp", "nbf", "jti"]
        .iter()
        .map(|name| without(name))
        .collect();
    for sub in [
        "\"0\"",
        "\"-7\"",
        "\"+7\"",
        "\"07\"",
        "\" 7\"",
        "\"7 \"",
        "\"\"",
        "\"x\"",
        "\"7.0\"",
        "\"1e3\"",
        "\"9223372036854775808\"",
        "\"18446744073709551615\"",
        "7",
        "null",
        "[\"7\"]",
        "\"７\"",
    ] {
        bodies.push(change("\"7\"", sub));
    }
    bodies.extend(
        wrong_values()
            .into_iter()
            .map(|(from, to)| change(from, &to)),
    );
    bodies.extend(["", "{}", "null", "[]", "{", "\"x\"", "1"].map(str::to_owned));
    bodies.push(format!("{claims} {{}}"));
    bodies.push("[".repeat(700));
    bodies.iter().map(|body| signed(HEADER, body)).collect()
}

/// What to replace in good claims, and by what.
fn wrong_values() -> Vec<(&'static str, String)> {
    let (later, far) = (now_s() + 60, i64::MAX);
    vec![
        ("\"mmo\"", "\"mm0\"".to_owned()),
        ("\"mmo\"", "null".to_owned()),
        ("\"mmo\"", "[\"mmo\"]".to_owned()),
        ("\"channel\"", "\"center\"".to_owned()),
        ("\"channel\"", "\"12\"".to_owned()),
        ("\"channel\"", "[]".to_owned()),
        ("\"channel\"", "[\"center\",11]".to_owned()),
        ("\"channel\"", "11".to_owned()),
        ("\"j7\"", "\"\"".to_owned()),
        ("\"j7\"", "7".to_owned()),
        ("\"j7\"", format!("\"{}\"", "j".repeat(129))),
        ("\"j7\"}", "\"j7\",\"sub\":\"8\"}".to_owned()),
        ("\"j7\"}", "\"j7\",\"more\":{\"a\":1,\"a\":2}}".to_owned()),
        ("\"exp\":", "\"exp\":0.5,\"old\":".to_owned()),
        ("\"exp\":", "\"exp\":\"9999999999\",\"old\":".to_owned()),
        ("\"exp\":", "\"exp\":1e300,\"old\":".to_owned()),
        ("\"nbf\":", format!("\"nbf\":{later},\"old\":")),
        ("\"nbf\":", format!("\"nbf\":{far},\"old\":")),
        ("\"nbf\":", "\"nbf\":null,\"old\":".to_owned()),
    ]
}

/// Every way of forging a token that anyone thought of.
fn forged() -> Vec<Vec<u8>> {
    [altered(), wrong_headers(), wrong_claims()].concat()
}

#[test]
fn attack_forged_tokens_are_all_refused() {
    let mut settings = world::settings();
    settings.token_bytes_max = 1_024;
    let rules = mmo_core::token::TokenRules::new(&settings).unwrap();
    let good = token(7);
    assert_eq!(rules.verify(&good, now_s()).map(|proof| proof.user), Ok(7));
    let forged = forged();
    assert!(forged.len() > 2_000);
    for token in &forged {
        let verdict = rules.verify(token, now_s());
        assert_eq!(
            verdict,
            Err(CloseReason::TokenInvalid),
            "{}",
            String::from_utf8_lossy(token)
        );
    }
    // Over the socket: those of its own kind, one connection each.
    let mut world = World::new();
    let step = forged.len() / 220;
    for token in forged.iter().step_by(step) {
        let bytes = frame(opcode::ENTER, 1, token);
        assert_eq!(refused(&mut world, &bytes), CloseReason::TokenInvalid);
    }
    assert!(world.stat("tokens_refused_total") >= 200);
    assert_eq!(world.stat("tokens_accepted_total"), 0);
    world.assert_serves();
}

#[test]
fn tokens_of_an_array_audience_an_exact_number_and_the_edges_of_time_are_believed() {
    let rules = mmo_core::token::TokenRules::new(&world::settings()).unwrap();
    let claims = claims(7);
    let verify = |claims: &str, now| rules.verify(&signed(HEADER, claims), now);
    for audience in ["[\"center\",\"11\"]", "\"11\""] {
        let claims = claims.replace("\"channel\"", audience);
        assert!(verify(&claims, now_s()).is_ok());
    }
    let largest = claims.replace("\"7\"", "\"9223372036854775807\"");
    assert_eq!(
        verify(&largest, now_s()).map(|proof| proof.user),
        Ok(i64::MAX)
    );
    let exp = claims
        .split("\"exp\":")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap();
    let exp: i64 = exp.parse().unwrap();
    assert!(verify(&claims, exp + 1).is_ok());
    assert_eq!(verify(&claims, exp + 2), Err(CloseReason::TokenExpired));
    assert!(verify(&claims, exp - 62).is_ok());
    assert_eq!(verify(&claims, exp - 63), Err(CloseReason::TokenInvalid));
}

#[test]
fn attack_flood_of_messages_is_rate_limited_and_leaves_others_alone() {
    let mut world = World::with(|settings| settings.rate_classes[0] = ("few".into(), 5.0, 20));
    let (mut honest, _) = world.player(2);
    let (mut client, conn) = world.player(1);
    let flood = frame(ACT, 1, b"x").repeat(10_000);
    client.raw(&flood);
    assert_eq!(world.until(|seen| seen.opcode == opcode::CLOSED).conn, conn);
    assert_eq!(world.stat("closed_rate_limited_total"), 1);
    assert_eq!(world.stat("received_messages_total"), 2 + 20);
    honest.send(ACT, 5, b"fine");
    assert_eq!(world.next(ACT).body, b"fine");
}

#[test]
fn attack_flood_of_bytes_is_rate_limited() {
    let mut world = World::with(|settings| {
        settings.bytes_per_s_max = 20_000;
        settings.bytes_burst_max = 40_000;
    });
    let (mut client, conn) = world.player(1);
    client.raw(&frame(ACT, 1, &[0; 15_000]).repeat(10));
    assert_eq!(world.closed(conn), CloseReason::RateLimited);
    assert_eq!(world.stat("received_messages_total"), 1 + 2);
}

#[test]
fn attack_many_bytes_without_a_token_are_refused() {
    let mut world = World::new();
    let bytes = frame(HELLO, 1, &[0; 2_000]).repeat(10);
    assert_eq!(refused(&mut world, &bytes), CloseReason::UnprovedBytes);
}

#[test]
fn attack_connection_storm_is_closed_above_the_limits() {
    let mut world = World::with(|settings| {
        settings.connections_unproved_max = 20;
        settings.prove_ms = 60_000;
    });
    let storm: Vec<_> = (0..100).map(|_| world.client()).collect();
    world.wait("refusals", |world| {
        world.stat("closed_server_full_total") == 80
    });
    assert_eq!(world.stat("connections_unproved"), 20);
    drop(storm);
    world.wait("all gone", |world| world.stat("connections") == 0);
    world.seen.clear();
    world.assert_serves();
}

#[test]
fn attack_one_address_may_not_take_every_place() {
    let mut world = World::with(|settings| settings.connections_per_address_max = 3);
    let first: Vec<_> = (0..3).map(|user| world.player(user + 1)).collect();
    let mut fourth = world.client();
    assert_eq!(fourth.frame(), None);
    assert_eq!(world.stat("closed_address_limit_total"), 1);
    assert!(
        !world.pump_within(Duration::ZERO),
        "Python never hears of it"
    );
    drop(first);
    world.wait("all gone", |world| world.stat("connections") == 0);
    world.seen.clear();
    world.assert_serves();
}

#[test]
fn attack_reconnecting_again_and_again_is_rate_limited() {
    let mut world = World::with(|settings| {
        settings.connects_per_address_per_s_max = 1;
        settings.connects_per_address_burst_max = 3;
    });
    for _ in 0..100 {
        drop(world.client());
    }
    world.wait("all seen", |world| world.stat("accepted_total") == 100);
    assert!(world.stat("closed_address_limit_total") > 50);
    world.wait("all gone", |world| world.stat("connections_unproved") == 0);
}

#[test]
fn attack_client_that_lingers_keeps_its_place_until_its_socket_is_gone() {
    let mut world = World::with(|settings| {
        settings.connections_unproved_max = 2;
        settings.connections_per_address_max = 2;
        settings.close_flush_ms = 60_000;
    });
    let lingering: Vec<_> = (0..2)
        .map(|_| {
            let mut client = world.client();
            let conn = world.until(|seen| seen.opcode == opcode::OPENED).conn;
            client.raw(&frame(999, 1, b""));
            assert_eq!(world.closed(conn), CloseReason::UnknownOpcode);
            client
        })
        .collect();
    assert_eq!(world.stat("connections"), 0);
    assert_eq!(world.stat("connections_unproved"), 2);
    assert_eq!(world.client().frame(), None, "no third socket of theirs");
    assert_eq!(world.stat("closed_server_full_total"), 1);
    drop(lingering);
    world.wait("places", |world| world.stat("connections_unproved") == 0);
    world.seen.clear();
    world.assert_serves();
}

#[test]
fn attack_slow_half_open_and_silent_clients_are_timed_out() {
    // One short deadline at a time: on a slow machine the other ones would be met first.
    let mut world = World::with(|settings| settings.prove_ms = 150);
    let mut silent = world.client();
    let silent_conn = world.next(opcode::OPENED).conn;
    assert_eq!(world.closed(silent_conn), CloseReason::ProveTimeout);
    assert_eq!(silent.closing(), Some(CloseReason::ProveTimeout));
    let mut world = World::with(|settings| settings.frame_ms = 60);
    let (mut dripping, conn) = world.player(1);
    dripping.raw(&frame(ACT, 1, b"whole"));
    dripping.raw(&frame(ACT, 1, b"never whole")[..12]);
    assert_eq!(world.closed(conn), CloseReason::FrameTimeout);
    let mut world = World::with(|settings| settings.idle_ms = 1_000);
    let (_idle, conn) = world.player(2);
    assert_eq!(world.closed(conn), CloseReason::Idle);
}

#[test]
fn attack_made_up_conns_reach_nobody() {
    let mut world = World::new();
    let (mut client, conn) = world.player(1);
    for made_up in [
        0,
        -1,
        1,
        i64::MAX,
        i64::MIN,
        conn + 1,
        conn + (1 << 24),
        conn - (1 << 24),
    ] {
        assert_eq!(
            world.send(made_up, ACT, 1, b"x"),
            vec![ConnId::from_i64(made_up)]
        );
        world
            .server
            .close(ConnId::from_i64(made_up), CloseReason::Kicked)
            .unwrap();
        world.server.set_user(ConnId::from_i64(made_up), 3).unwrap();
    }
    world.send(conn, ACT, 2, b"real");
    assert_eq!(client.frame(), Some((ACT, 2, b"real".to_vec())));
}
