//! Every way in which a connection ends: OPENED first, exactly one CLOSED last, nothing after.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::io::Read;
use std::net::Shutdown;
use std::time::Instant;

use mmo_core::error::{CloseReason, CoreError};
use mmo_core::ids::{ConnId, opcode};
use world::{ACT, PATIENCE, World, frame, token};

#[test]
fn node_closes_after_what_was_queued_and_says_why() {
    let mut world = World::new();
    let (mut client, conn) = world.player(1);
    let id = ConnId::from_i64(conn);
    world.send(conn, ACT, 1, &[9; 100_000]);
    world.server.close(id, CloseReason::SessionTaken).unwrap();
    world.server.close(id, CloseReason::Kicked).unwrap();
    assert_eq!(
        world.send(conn, ACT, 2, b"late"),
        vec![id],
        "closing takes no more"
    );
    assert_eq!(client.frame(), Some((ACT, 1, vec![9; 100_000])));
    assert_eq!(client.closing(), Some(CloseReason::SessionTaken));
    assert_eq!(world.closed(conn), CloseReason::SessionTaken);
    world.server.close(id, CloseReason::Kicked).unwrap();
    assert_eq!(world.stat("closed_kicked_total"), 0);
}

#[test]
fn late_reply_does_not_reach_the_next_in_the_slot() {
    let mut world = World::with(|settings| settings.connections_max = 1);
    let (client, old) = world.player(1);
    drop(client);
    assert_eq!(world.closed(old), CloseReason::PeerClosed);
    let (mut client, new) = world.player(2);
    assert_ne!(old, new);
    assert_eq!(ConnId::from_i64(old).slot(), ConnId::from_i64(new).slot());
    assert_eq!(world.send(old, ACT, 1, b"for user 1").len(), 1);
    world
        .server
        .close(ConnId::from_i64(old), CloseReason::Kicked)
        .unwrap();
    world.server.set_user(ConnId::from_i64(old), 1).unwrap();
    world.send(new, ACT, 2, b"for user 2");
    assert_eq!(client.frame(), Some((ACT, 2, b"for user 2".to_vec())));
    client.send(ACT, 3, b"");
    assert_eq!(world.next(ACT).user, 2);
}

#[test]
fn half_closed_client_is_closed() {
    let mut world = World::new();
    let (mut client, conn) = world.player(1);
    client.send(ACT, 1, b"last words");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(world.next(ACT).body, b"last words");
    assert_eq!(world.closed(conn), CloseReason::PeerClosed);
    assert_eq!(client.frame(), None);
}

#[test]
fn thousand_connections_that_come_and_go_leave_nothing() {
    let mut world = World::with(|settings| settings.connections_max = 4);
    for user in 1..=1_000 {
        let mut client = world.client();
        match user % 3 {
            0 => drop(client),
            1 => {
                client.raw(&frame(opcode::ENTER, 1, &token(user))[..20]);
                drop(client);
            }
            _ => {
                client.send(999, 1, b"");
                client.closing();
            }
        }
        let opened = world.next(opcode::OPENED);
        assert_eq!(world.next(opcode::CLOSED).conn, opened.conn);
    }
    assert_eq!(world.stat("connections"), 0);
    assert_eq!(world.stat("connections_unproved"), 0);
    assert_eq!(world.stat("rings_lent"), 0);
    assert_eq!(world.stat("accepted_total"), 1_000);
    world.assert_serves();
}

#[test]
fn shutdown_flushes_closes_all_and_says_stopped_last() {
    let mut world = World::new();
    let mut players: Vec<_> = (1..=20).map(|user| world.player(user)).collect();
    for (_, conn) in &players {
        world.send(*conn, ACT, 1, &[5; 50_000]);
    }
    world.server.begin_shutdown(5_000).unwrap();
    world.server.begin_shutdown(1).unwrap();
    for (client, _) in &mut players {
        assert_eq!(client.frame(), Some((ACT, 1, vec![5; 50_000])));
        assert_eq!(client.closing(), Some(CloseReason::ServerStopping));
    }
    let mut closed = 0;
    loop {
        let seen = world.until(|_| true);
        match seen.opcode {
            opcode::CLOSED => closed += 1,
            opcode::STOPPED => break,
            other => panic!("opcode {other} while stopping"),
        }
    }
    assert_eq!(closed, 20);
    world.server.finish_shutdown().unwrap();
    world.server.finish_shutdown().unwrap();
    assert_eq!(world.pump(10), 0, "nothing after STOPPED");
    assert!(matches!(
        world.server.start(),
        Err(CoreError::StartedBefore)
    ));
    assert!(matches!(
        world.server.begin_shutdown(1),
        Err(CoreError::NotRunning)
    ));
    assert_eq!(world.send(players[0].1, ACT, 1, b"").len(), 1);
}

#[test]
fn client_that_speaks_once_more_after_the_stop_still_gets_his_last_words() {
    let mut world = World::with(|settings| settings.close_flush_ms = 10_000);
    let (mut client, conn) = world.player(1);
    let body = vec![5; 900_000];
    world.send(conn, ACT, 1, &body);
    world.server.begin_shutdown(5_000).unwrap();
    assert_eq!(world.closed(conn), CloseReason::ServerStopping);
    world.next(opcode::STOPPED);
    // Most of it is still on the side of the core, in the system's keeping.
    client.send(ACT, 2, b"one more");
    assert_eq!(client.frame(), Some((ACT, 1, body)));
    assert_eq!(client.closing(), Some(CloseReason::ServerStopping));
}

#[test]
fn client_that_never_closes_delays_no_stop_and_its_end_by_a_second_at_most() {
    let mut world = World::with(|settings| settings.close_flush_ms = 60_000);
    let (client, conn) = world.player(1);
    world.server.begin_shutdown(60_000).unwrap();
    let begun = Instant::now();
    assert_eq!(world.closed(conn), CloseReason::ServerStopping);
    world.next(opcode::STOPPED);
    let mut settings = world::settings();
    settings.client_port = i32::from(world.ports.client.unwrap());
    settings.datagram_port = i32::from(world.ports.datagram.unwrap());
    let successor = mmo_core::server::Server::new(settings).unwrap();
    successor.start().unwrap();
    world.server.finish_shutdown().unwrap();
    assert!(begun.elapsed() < PATIENCE);
    drop(client);
}

#[test]
fn shutdown_does_not_wait_for_a_client_that_does_not_read() {
    let mut world = World::with(|settings| settings.outbox_bytes_max = 64 << 20);
    let (client, conn) = world.player(1);
    world.send(conn, ACT, 1, &vec![5; 32 << 20]);
    world.server.begin_shutdown(50).unwrap();
    assert_eq!(world.closed(conn), CloseReason::ServerStopping);
    world.next(opcode::STOPPED);
    drop(client);
}

#[test]
fn grace_of_any_length_ends_when_all_are_gone() {
    let mut world = World::new();
    let (mut client, conn) = world.player(1);
    world.server.begin_shutdown(u64::MAX).unwrap();
    assert_eq!(client.closing(), Some(CloseReason::ServerStopping));
    assert_eq!(world.closed(conn), CloseReason::ServerStopping);
    world.next(opcode::STOPPED);
}

#[test]
fn core_that_was_never_started_stops_and_drops() {
    let server = mmo_core::server::Server::new(world::settings()).unwrap();
    assert!(matches!(
        server.begin_shutdown(1),
        Err(CoreError::NotRunning)
    ));
    server.finish_shutdown().unwrap();
    drop(server);
}

#[test]
fn dropping_a_running_core_closes_its_connections() {
    let mut world = World::new();
    let (mut client, _) = world.player(1);
    drop(world);
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).unwrap();
}

#[test]
fn address_that_is_taken_is_named() {
    let world = World::new();
    let mut settings = world::settings();
    settings.client_port = i32::from(world.ports.client.unwrap());
    let server = mmo_core::server::Server::new(settings).unwrap();
    let error = server.start().unwrap_err().to_string();
    assert!(
        error.contains(&world.ports.client.unwrap().to_string()),
        "{error}"
    );
}
