//! The wire as an honest client sees it, over real sockets.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use hmac::{Hmac, KeyInit, Mac};
use mmo_core::error::CloseReason;
use mmo_core::ids::{ConnId, opcode};
use sha2::Sha256;
use world::{ACT, HELLO, PING, PONG, World, frame, token, udp};

#[test]
fn connection_opens_enters_acts_and_closes() {
    let mut world = World::new();
    let mut client = world.client();
    let opened = world.next(opcode::OPENED);
    assert_eq!(
        opened.body,
        client.stream.local_addr().unwrap().to_string().into_bytes()
    );
    assert_eq!(opened.user, 0);
    client.send(HELLO, 1, b"hi");
    assert_eq!(world.next(HELLO).user, 0);
    client.send(opcode::ENTER, 2, &token(7));
    let entered = world.next(opcode::ENTER);
    assert_eq!((entered.user, entered.seq), (7, 2));
    let body = String::from_utf8(entered.body).unwrap();
    assert!(
        body.starts_with(r#"{"typ":"session+jwt","claims":{"iss":"mmo","#),
        "{body}"
    );
    client.send(ACT, 3, b"act");
    let acted = world.next(ACT);
    assert_eq!((acted.conn, acted.user, acted.seq), (opened.conn, 7, 3));
    assert_eq!(acted.body, b"act");
    drop(client);
    let closed = world.next(opcode::CLOSED);
    assert_eq!((closed.conn, closed.user), (opened.conn, 7));
    assert_eq!(closed.seq, u32::from(CloseReason::PeerClosed.number()));
    assert_eq!(world.stat("connections"), 0);
    assert_eq!(world.stat("connections_unproved"), 0);
}

#[test]
fn frames_split_at_every_byte_and_joined_arrive_whole_and_in_order() {
    let mut world = World::new();
    let (mut client, _) = world.player(1);
    let mut all = Vec::new();
    for seq in 0..6u32 {
        all.extend(frame(ACT, seq, &vec![b'x'; seq as usize * 40]));
    }
    for byte in &all {
        assert!(client.raw(&[*byte]));
    }
    client.raw(&all);
    for round in 0..2 {
        for seq in 0..6u32 {
            let seen = world.next(ACT);
            assert_eq!(
                (seen.seq, seen.body.len()),
                (seq, seq as usize * 40),
                "round {round}"
            );
        }
    }
    assert_eq!(
        world.stat("rings_lent"),
        0,
        "an idle connection holds no ring"
    );
}

#[test]
fn body_of_any_length_arrives_exactly() {
    let mut world = World::new();
    let (mut client, conn) = world.player(1);
    for length in [0, 1, 127, 128, 129, 5_000, 15_994] {
        let body: Vec<u8> = (0..length)
            .map(|i| u8::try_from(i % 251).unwrap())
            .collect();
        client.send(ACT, 9, &body);
        assert_eq!(world.next(ACT).body, body);
        assert!(world.send(conn, ACT, 9, &body).is_empty());
        assert_eq!(
            client.frame(),
            Some((ACT, 9, body)),
            "exactly what was sent, no more"
        );
    }
    assert_eq!(world.stat("heap_bodies_total"), 3);
}

#[test]
fn replies_leave_in_order_in_one_batch() {
    let mut world = World::new();
    let (mut first, a) = world.player(1);
    let (mut second, b) = world.player(2);
    let mut outbound = world.server.outbound().unwrap();
    for seq in 0..500 {
        outbound.push(ConnId::from_i64(a), ACT, seq, b"to a");
        outbound.push(ConnId::from_i64(b), ACT, seq, b"to b");
    }
    assert!(outbound.finish().is_empty());
    for seq in 0..500 {
        assert_eq!(first.frame(), Some((ACT, seq, b"to a".to_vec())));
        assert_eq!(second.frame(), Some((ACT, seq, b"to b".to_vec())));
    }
}

#[test]
fn ping_is_answered_by_the_core() {
    let mut world = World::new();
    let (mut client, _) = world.player(1);
    for seq in 0..100 {
        client.send(PING, seq, &seq.to_le_bytes());
    }
    for seq in 0..100u32 {
        assert_eq!(
            client.frame(),
            Some((PONG, seq, seq.to_le_bytes().to_vec()))
        );
    }
    assert_eq!(world.stat("echoed_messages_total"), 100);
    assert!(world.pump(10) == 0, "Python sees none of it");
}

#[test]
fn fanout_shares_one_body_among_many() {
    let mut world = World::new();
    let mut players: Vec<_> = (1..=5).map(|user| world.player(user)).collect();
    let gone = ConnId::from_i64(12_345_678);
    let ids: Vec<ConnId> = players
        .iter()
        .map(|(_, conn)| ConnId::from_i64(*conn))
        .chain([gone])
        .collect();
    for body in [vec![1; 3], vec![2; 300_000]] {
        let took = world
            .server
            .fanout(ids.iter().copied(), ACT, &body, false)
            .unwrap();
        assert_eq!(took, 5);
        for (client, conn) in &mut players {
            world.send(*conn, ACT, 1, b"after");
            assert_eq!(client.frame(), Some((ACT, 0, body.clone())));
            assert_eq!(client.frame(), Some((ACT, 1, b"after".to_vec())));
        }
    }
}

#[test]
fn node_may_vouch_for_a_user_and_demote_him() {
    let mut world = World::new();
    let mut client = world.client();
    let conn = world.next(opcode::OPENED).conn;
    client.send(200, 1, b"login");
    assert_eq!(world.next(200).user, 0);
    world.server.set_user(ConnId::from_i64(conn), 55).unwrap();
    world.send(conn, 203, 1, b"ok");
    client.frame().unwrap();
    client.send(ACT, 2, b"");
    assert_eq!(world.next(ACT).user, 55);
    assert_eq!(world.stat("connections_unproved"), 0);
    world.server.set_user(ConnId::from_i64(conn), 0).unwrap();
    world.send(conn, 203, 1, b"out");
    client.frame().unwrap();
    assert_eq!(world.stat("connections_unproved"), 1);
    client.send(ACT, 3, b"");
    assert_eq!(world.closed(conn), CloseReason::ForbiddenOpcode);
}

#[test]
fn lossy_body_leaves_as_datagram_to_a_proved_address_and_by_tcp_to_others() {
    let mut world = World::new();
    let (mut first, a) = world.player(1);
    let (mut second, b) = world.player(2);
    let (a, b) = (ConnId::from_i64(a), ConnId::from_i64(b));
    let (number, key) = world.server.datagram_key(a, 77).unwrap();
    let socket = udp(world.ports.datagram.unwrap());
    let mac = |bytes: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(bytes);
        mac.finalize().into_bytes()[..8].to_vec()
    };
    let prove = |counter: u64| {
        let mut proof = [number.to_le_bytes(), counter.to_le_bytes()].concat();
        proof.extend(mac(&proof));
        socket.send(&proof).unwrap();
    };
    // The key is on its way to the network thread, and proofs before it prove nothing.
    let counters = std::cell::Cell::new(0);
    world.wait("proof", |world| {
        counters.set(counters.get() + 1);
        prove(counters.get());
        world.stat("datagrams_proved_total") > 0
    });
    let refused = world.stat("datagrams_refused_total");
    prove(1);
    socket.send(b"garbage").unwrap();
    world.wait("refusals", |world| {
        world.stat("datagrams_refused_total") >= refused + 2
    });
    for sequence in 1..=300u32 {
        let body = sequence.to_le_bytes();
        assert_eq!(
            world
                .server
                .fanout([a, b].into_iter(), 800, &body, true)
                .unwrap(),
            2
        );
        let mut datagram = [0; 2000];
        let got = socket.recv(&mut datagram).unwrap();
        let (said, code) = datagram[..got].split_at(got - 8);
        assert_eq!(code, mac(said));
        let mut expected = [77u32.to_le_bytes(), sequence.to_le_bytes()].concat();
        expected.extend(800u16.to_le_bytes());
        expected.extend(body);
        assert_eq!(said, expected);
        assert_eq!(second.frame(), Some((800, 0, body.to_vec())));
    }
    let long = vec![3; 5_000];
    assert_eq!(
        world
            .server
            .fanout([a].into_iter(), 800, &long, true)
            .unwrap(),
        1
    );
    assert_eq!(
        first.frame(),
        Some((800, 0, long)),
        "too long for a datagram"
    );
    assert_eq!(world.stat("datagrams_sent_total"), 300);
    assert_eq!(world.stat("datagrams_dropped_total"), 0);
}
