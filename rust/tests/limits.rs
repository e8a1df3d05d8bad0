//! What is full has a policy: wait, refuse or close.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mmo_core::error::{CloseReason, CoreError};
use mmo_core::ids::{ConnId, opcode};
use mmo_core::server::Server;
use world::{ACT, World, frame, spin, token};

#[test]
fn queue_at_high_water_stops_readers_and_nothing_is_lost() {
    let mut world = World::with(|settings| {
        settings.inbound_events_max = 64;
        settings.inbound_high_water = 48;
        settings.inbound_low_water = 8;
    });
    let (client, _) = world.player(1);
    let (mut other, _) = world.player(2);
    let sent = 20_000u32;
    let mut stream = client.stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        for seq in 0..sent {
            stream.write_all(&frame(ACT, seq, &[7; 200])).unwrap();
        }
    });
    spin(|| world.stat("inbound_waiting") >= 48);
    assert!(world.stat("inbound_waiting") <= 64);
    other.send(ACT, 99, b"me too");
    for expected in 0..sent {
        let seen = world.until(|seen| seen.opcode == ACT && seen.user == 1);
        assert_eq!((seen.seq, seen.body.len()), (expected, 200));
        assert!(world.stat("inbound_waiting") <= 64);
    }
    writer.join().unwrap();
    assert!(world.stat("reader_waits_total") > 0);
    drop(client);
    world.until(|seen| seen.opcode == opcode::CLOSED);
}

#[test]
fn client_that_is_not_read_is_not_called_idle() {
    let mut world = World::with(|settings| {
        settings.inbound_events_max = 4;
        settings.inbound_high_water = 4;
        settings.inbound_low_water = 1;
        settings.idle_ms = 1_000;
    });
    let (mut client, conn) = world.player(1);
    client.raw(&frame(ACT, 1, b"x").repeat(1_000));
    world.wait("stopped", |world| world.stat("reader_waits_total") > 0);
    let sweeps = Instant::now() + Duration::from_millis(1_500);
    while Instant::now() < sweeps {
        assert_eq!(world.stat("closed_idle_total"), 0, "its words wait here");
        std::thread::yield_now();
    }
    for _ in 0..1_000 {
        world.until(|seen| seen.opcode == ACT);
    }
    assert_eq!(world.closed(conn), CloseReason::Idle, "now it is silent");
}

#[test]
fn empty_body_pool_stops_readers_and_nothing_is_lost() {
    let mut world = World::with(|settings| settings.body_slots_max = 3);
    let (mut client, _) = world.player(1);
    for seq in 0..200 {
        client.send(ACT, seq, b"in a slot");
    }
    for expected in 0..200 {
        assert_eq!(world.next(ACT).seq, expected);
    }
    assert_eq!(world.stat("body_slots_made"), 3);
}

#[test]
fn attack_strangers_with_half_a_frame_take_no_ring_of_the_pool() {
    let mut world = World::with(|settings| settings.rings_max = 1);
    let whole = frame(ACT, 1, &[7; 10_000]);
    let (mut player, _) = world.player(1);
    let mut strangers: Vec<_> = (0..20).map(|_| world.client()).collect();
    let entering = frame(opcode::ENTER, 1, &token(2));
    let before = world.stat("received_bytes_total");
    for stranger in &mut strangers {
        stranger.raw(&entering[..1]);
    }
    world.wait("read", |world| {
        world.stat("received_bytes_total") == before + 20
    });
    assert_eq!(world.stat("rings_lent"), 0);
    let before = world.stat("received_bytes_total");
    player.raw(&whole[..5_000]);
    world.wait("read", |world| {
        world.stat("received_bytes_total") >= before + 5_000
    });
    assert_eq!(world.stat("rings_lent"), 1, "of the player");
    let (_newcomer, _) = world.player(3);
    player.raw(&whole[5_000..]);
    assert_eq!(world.until(|seen| seen.opcode == ACT).body.len(), 10_000);
    // And a stranger's token may come in pieces.
    strangers[0].raw(&entering[1..]);
    assert_eq!(world.until(|seen| seen.opcode == opcode::ENTER).user, 2);
    assert_eq!(world.stat("closed_frame_timeout_total"), 0);
}

#[test]
fn long_frame_right_behind_the_token_arrives_whole() {
    let mut world = World::with(|settings| settings.rings_max = 1);
    let act = frame(ACT, 2, &[7; 15_000]);
    let all = [frame(opcode::ENTER, 1, &token(1)), act].concat();
    let mut client = world.client();
    for part in all.chunks(1_500) {
        let before = world.stat("received_bytes_total");
        client.raw(part);
        world.wait("read", |world| world.stat("received_bytes_total") > before);
    }
    assert_eq!(world.until(|seen| seen.opcode == ACT).body.len(), 15_000);
    assert_eq!(world.stat("rings_lent"), 0);
}

#[test]
fn empty_ring_pool_ends_who_leaves_his_frame_incomplete_for_longest() {
    let mut world = World::with(|settings| settings.rings_max = 2);
    let mut players: Vec<_> = (1..=4).map(|user| world.player(user)).collect();
    let long = frame(ACT, 2, &[7; 10_000]);
    for (lent, (client, _)) in (1..).zip(&mut players[1..=2]) {
        client.raw(&long[..5]);
        world.wait("lent", |world| world.stat("rings_lent") == lent);
    }
    // Frames that fit into a block need none, in pieces or whole.
    let short = frame(ACT, 3, b"short");
    let before = world.stat("received_bytes_total");
    players[0].0.raw(&short[..7]);
    world.wait("read", |world| {
        world.stat("received_bytes_total") == before + 7
    });
    players[0].0.raw(&short[7..]);
    assert_eq!(world.next(ACT).user, 1);
    assert_eq!(world.stat("rings_lent"), 2);
    // A long one takes the place of the oldest.
    players[3].0.raw(&long);
    let mut seen = [world.until(|_| true), world.until(|_| true)];
    seen.sort_by_key(|seen| seen.opcode);
    assert_eq!(
        (seen[0].opcode, seen[0].conn),
        (opcode::CLOSED, players[1].1)
    );
    assert_eq!((seen[1].user, seen[1].body.len()), (4, 10_000));
    assert_eq!(players[1].0.closing(), Some(CloseReason::FrameTimeout));
    players[2].0.raw(&long[5..]);
    assert_eq!(world.next(ACT).user, 3);
    world.wait("given back", |world| world.stat("rings_lent") == 0);
    assert_eq!(world.stat("closed_frame_timeout_total"), 1);
}

/// A queue of four, full; the client who filled it has words left that are not read.
fn full_queue(world: &mut World) -> world::Client {
    let (mut client, _) = world.player(1);
    client.raw(&frame(ACT, 1, b"x").repeat(100));
    spin(|| world.stat("inbound_waiting") == 4);
    client
}

fn small_queue(settings: &mut mmo_core::config::Settings) {
    settings.inbound_events_max = 4;
    settings.inbound_high_water = 4;
    settings.inbound_low_water = 1;
}

#[test]
fn full_queue_ends_nobody_for_a_ring() {
    let mut world = World::with(|settings| {
        small_queue(settings);
        settings.rings_max = 2;
    });
    let (mut slow, _) = world.player(3);
    let (mut late, _) = world.player(2);
    let long = frame(ACT, 2, &[7; 10_000]);
    slow.raw(&long[..5]);
    world.wait("lent", |world| world.stat("rings_lent") == 1);
    let _client = full_queue(&mut world);
    spin(|| world.stat("rings_lent") == 2);
    let waits = world.stat("reader_waits_total");
    late.raw(&long[..5_000]);
    spin(|| world.stat("reader_waits_total") > waits);
    let sweeps = Instant::now() + Duration::from_millis(300);
    spin(|| Instant::now() > sweeps);
    late.raw(&long[5_000..]);
    slow.raw(&long[5..]);
    let mut users = Vec::new();
    for _ in 0..102 {
        users.push(world.until(|seen| seen.opcode == ACT).user);
    }
    assert!(users.contains(&2) && users.contains(&3));
    assert_eq!(world.stat("closed_frame_timeout_total"), 0);
}

#[test]
fn time_in_which_a_client_is_not_read_is_not_taken_from_his_time_to_prove_himself() {
    let mut world = World::with(|settings| {
        small_queue(settings);
        settings.prove_ms = 500;
    });
    let _client = full_queue(&mut world);
    let waits = world.stat("reader_waits_total");
    let mut newcomer = world.client();
    newcomer.send(opcode::ENTER, 1, &token(2));
    spin(|| world.stat("reader_waits_total") > waits);
    let late = Instant::now() + Duration::from_millis(900);
    spin(|| Instant::now() > late);
    let entered = world.until(|seen| seen.opcode == opcode::ENTER);
    assert_eq!(entered.user, 2, "his token waited here");
    assert_eq!(world.stat("closed_prove_timeout_total"), 0);
}

#[test]
fn what_a_client_sent_at_his_rate_while_he_was_not_read_is_not_called_too_much() {
    let mut world = World::with(|settings| {
        small_queue(settings);
        settings.rate_classes[0] = ("fast".into(), 200.0, 20);
    });
    let (mut client, conn) = world.player(1);
    client.raw(&frame(ACT, 1, b"x").repeat(5));
    spin(|| world.stat("reader_waits_total") > 0);
    // A hundred in half a second, which nobody but the system takes.
    client.raw(&frame(ACT, 2, b"x").repeat(100));
    let late = Instant::now() + Duration::from_millis(500);
    spin(|| Instant::now() > late);
    for _ in 0..105 {
        assert_eq!(world.next(ACT).user, 1);
    }
    client.raw(&frame(ACT, 3, b"x").repeat(2_000));
    assert_eq!(world.closed(conn), CloseReason::RateLimited);
}

#[test]
fn attack_clock_of_a_frame_does_not_begin_again_with_each_byte_of_it() {
    let mut world = World::with(|settings| settings.frame_ms = 200);
    let (mut client, conn) = world.player(1);
    let next = frame(ACT, 2, &[0; 10_000]);
    client.raw(&[frame(ACT, 1, b"whole"), next[..1].to_vec()].concat());
    world.next(ACT);
    let mut sent = 1;
    while !world.pump_within(Duration::from_millis(10)) {
        client.raw(&next[sent..=sent]);
        sent += 1;
        assert!(sent < 1_000, "ten seconds of a frame");
    }
    assert_eq!(world.closed(conn), CloseReason::FrameTimeout);
}

#[test]
fn client_that_does_not_read_is_closed_as_slow_and_others_are_not() {
    let mut world = World::with(|settings| settings.outbox_bytes_max = 100_000);
    let (mut slow, conn) = world.player(1);
    let (mut quick, other) = world.player(2);
    let id = ConnId::from_i64(conn);
    let mut refused = Vec::new();
    for _ in 0..10_000 {
        refused = world.send(conn, ACT, 1, &[1; 50_000]);
        if !refused.is_empty() {
            break;
        }
    }
    assert_eq!(refused, vec![id]);
    assert_eq!(
        world.send(conn, ACT, 1, b""),
        vec![id],
        "and refused from now on"
    );
    assert_eq!(world.closed(conn), CloseReason::SlowConsumer);
    for seq in 0..1_000 {
        assert!(world.send(other, ACT, seq, &[1; 5_000]).is_empty());
        assert_eq!(quick.frame().unwrap().1, seq);
    }
    let end = slow.stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(
        end.kind(),
        ErrorKind::ConnectionReset,
        "the system holds nothing for him"
    );
}

#[test]
fn fanout_closes_who_is_slow_and_tells_how_many_took_it() {
    let mut world = World::with(|settings| settings.outbox_bytes_max = 500_000);
    let (_slow, conn) = world.player(1);
    let (mut quick, other) = world.player(2);
    let ids = [ConnId::from_i64(conn), ConnId::from_i64(other)];
    let body = vec![1; 50_000];
    let mut took = 2;
    while took == 2 {
        took = world
            .server
            .fanout(ids.into_iter(), ACT, &body, false)
            .unwrap();
        assert_eq!(quick.frame().unwrap().2.len(), body.len());
    }
    assert_eq!(took, 1);
    assert_eq!(world.stat("send_refused_total"), 1, "there is no room");
    let again = world.server.fanout(ids.into_iter(), ACT, b"", false);
    assert_eq!(again.unwrap(), 1);
    assert_eq!(world.stat("send_refused_total"), 2, "it is on its way out");
    assert_eq!(world.closed(conn), CloseReason::SlowConsumer);
}

#[test]
fn accepting_waits_while_all_places_are_taken() {
    let mut world = World::with(|settings| settings.connections_max = 2);
    let (first, conn) = world.player(1);
    let (_second, _) = world.player(2);
    let mut third = world.client();
    third.send(opcode::ENTER, 1, &token(3));
    world.wait("waits", |world| world.stat("accept_waits_total") > 0);
    assert_eq!(world.stat("connections"), 2);
    drop(first);
    assert_eq!(world.closed(conn), CloseReason::PeerClosed);
    assert_eq!(world.until(|seen| seen.opcode == opcode::ENTER).user, 3);
}

#[test]
fn python_that_does_not_pump_loses_no_end_of_a_connection() {
    let mut world = World::with(|settings| {
        settings.connections_max = 3;
        settings.inbound_events_max = 2;
        settings.inbound_high_water = 2;
        settings.inbound_low_water = 1;
    });
    let clients = std::thread::spawn({
        let port = world.ports.client.unwrap();
        move || {
            for _ in 0..30 {
                drop(world::Client::connect(port));
            }
        }
    });
    clients.join().unwrap();
    let mut open = std::collections::HashSet::new();
    let mut closed = 0;
    while closed < 30 {
        let seen = world.until(|_| true);
        match seen.opcode {
            opcode::OPENED => assert!(open.insert(seen.conn), "an id twice"),
            opcode::CLOSED => {
                assert!(open.remove(&seen.conn), "CLOSED without OPENED");
                closed += 1;
            }
            other => panic!("opcode {other}"),
        }
    }
    assert_eq!(world.stat("accepted_total"), 30);
    world.assert_serves();
}

#[test]
fn pump_takes_at_most_its_limit_and_stays_readable() {
    let mut world = World::new();
    let (mut client, _) = world.player(1);
    client.raw(&frame(ACT, 1, b"").repeat(100));
    world.wait("all in", |world| {
        world.stat("received_messages_total") == 101
    });
    while world.seen.len() < 100 {
        let taken = world.seen.len();
        assert!(
            world.pump_within(world::PATIENCE),
            "readable while any wait"
        );
        assert!(world.seen.len() > taken);
    }
    assert!(!world.pump_within(Duration::ZERO));
    assert_eq!(world.pump(10), 0);
    client.raw(&frame(ACT, 1, b"").repeat(50));
    world.wait("more in", |world| world.seen.len() == 150);
}

#[test]
fn visit_to_a_server_without_tokens_ends_after_its_time() {
    let mut world = World::with(|settings| {
        settings.token_types.clear();
        settings.open_ms = 60;
    });
    let mut client = world.client();
    let conn = world.next(opcode::OPENED).conn;
    assert_eq!(world.closed(conn), CloseReason::OpenTimeout);
    assert_eq!(client.closing(), Some(CloseReason::OpenTimeout));
}

#[test]
fn every_wrong_setting_is_named() {
    type Change = fn(&mut mmo_core::config::Settings);
    let cases: [(&str, Change); 17] = [
        ("server_number", |s| s.server_number = 0),
        ("role", |s| s.role = "a b".into()),
        ("client_port", |s| s.client_port = 70_000),
        ("tls_key_file", |s| s.tls_key_file = "x".into()),
        ("connections_max", |s| s.connections_max = 1 << 24),
        ("connects_per_address_burst_max", |s| {
            s.connects_per_address_burst_max = 0
        }),
        ("ring_bytes", |s| s.ring_bytes = 100),
        ("inbound_low_water", |s| {
            s.inbound_low_water = s.inbound_high_water
        }),
        ("inbound_high_water", |s| {
            s.inbound_high_water = s.inbound_events_max + 1
        }),
        ("heartbeat_lost_ms", |s| {
            s.heartbeat_lost_ms = s.heartbeat_ms
        }),
        ("redial_ms_max", |s| s.redial_ms_max = 1),
        ("rate_classes", |s| s.rate_classes[0].1 = 0.0),
        ("client_opcodes", |s| s.client_opcodes.push((99, 1, 0))),
        ("core_echo_opcodes", |s| s.core_echo_opcodes.push((999, 1))),
        ("link_opcodes", |s| s.link_opcodes.push(("x".into(), 90))),
        ("token_keys", |s| s.token_keys[0].1 = vec![0; 32]),
        ("link_secret", |s| s.link_secret = vec![0; 31]),
    ];
    for (name, change) in cases {
        let mut settings = world::settings();
        change(&mut settings);
        match Server::new(settings) {
            Err(CoreError::Setting { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {:?}", other.err()),
        }
    }
}
