//! Links between cores: both prove themselves, one stands, a lost one comes back.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::time::Duration;

use mmo_core::error::CloseReason;
use mmo_core::ids::{ConnId, opcode};
use world::{LINK_ACT, LINK_OTHER, SECRET, World, frame, spin};

fn server(number: u16, role: &str, incarnation: u64) -> World {
    World::with(|settings| {
        settings.server_number = number;
        settings.role = role.into();
        settings.incarnation = incarnation;
    })
}

fn address(world: &World) -> String {
    format!("127.0.0.1:{}", world.ports.link.unwrap())
}

fn up(world: &mut World) -> i64 {
    world.next(opcode::PEER_UP).conn
}

#[test]
fn link_stands_and_carries_frames_both_ways() {
    let mut center = server(1, "center", 7);
    let mut channel = server(2, "channel", 9);
    channel.server.dial(1, &address(&center)).unwrap();
    let at_center = center.next(opcode::PEER_UP);
    let at_channel = channel.next(opcode::PEER_UP);
    assert_eq!((at_center.user, at_center.body), (2, b"channel:9".to_vec()));
    assert_eq!(
        (at_channel.user, at_channel.body),
        (1, b"center:7".to_vec())
    );
    for length in [0, 10, 100_000, 199_994] {
        center.send(at_center.conn, LINK_ACT, 5, &vec![1; length]);
        let seen = channel.next(LINK_ACT);
        assert_eq!((seen.user, seen.seq, seen.body.len()), (1, 5, length));
        channel.send(at_channel.conn, LINK_ACT, 6, &vec![2; length]);
        assert_eq!(center.next(LINK_ACT).body.len(), length);
    }
}

#[test]
fn both_dial_and_one_link_stands() {
    for _ in 0..20 {
        let mut first = server(1, "center", 1);
        let mut second = server(2, "channel", 1);
        first.server.dial(2, &address(&second)).unwrap();
        second.server.dial(1, &address(&first)).unwrap();
        let (a, b) = (up(&mut first), up(&mut second));
        for seq in 0..20 {
            first.send(a, LINK_ACT, seq, b"");
            assert_eq!(second.next(LINK_ACT).seq, seq, "no link came or went");
            second.send(b, LINK_ACT, seq, b"");
            assert_eq!(first.next(LINK_ACT).seq, seq);
        }
        assert_eq!((first.stat("links"), second.stat("links")), (1, 1));
    }
}

#[test]
fn link_that_is_lost_comes_back() {
    let mut center = server(1, "center", 1);
    let mut channel = server(2, "channel", 1);
    channel.server.dial(1, &address(&center)).unwrap();
    for _ in 0..5 {
        let conn = up(&mut center);
        let dialled = up(&mut channel);
        center
            .server
            .close(ConnId::from_i64(conn), CloseReason::LinkLost)
            .unwrap();
        assert_eq!(channel.next(opcode::PEER_DOWN).conn, dialled);
        assert_eq!(center.next(opcode::PEER_DOWN).conn, conn);
    }
    up(&mut channel);
    channel.server.undial(1).unwrap();
    channel.next(opcode::PEER_DOWN);
}

#[test]
fn restarted_server_replaces_its_older_link() {
    let mut center = server(1, "center", 1);
    let mut old = server(2, "channel", 10);
    old.server.dial(1, &address(&center)).unwrap();
    let first = up(&mut center);
    up(&mut old);
    let mut new = server(2, "channel", 11);
    new.server.dial(1, &address(&center)).unwrap();
    let down = center.next(opcode::PEER_DOWN);
    assert_eq!(
        (down.conn, down.seq),
        (first, u32::from(CloseReason::LinkLost.number()))
    );
    assert_eq!(center.next(opcode::PEER_UP).body, b"channel:11");
    up(&mut new);
    old.wait("refusal of the older", |old| {
        old.stat("link_dial_failures_total") > 1
    });
    assert_eq!(center.stat("links"), 1);
    assert!(!center.pump_within(Duration::ZERO), "the newer link stays");
}

#[test]
fn silent_link_is_ended_by_heartbeat() {
    let mut center = World::with(|settings| {
        settings.server_number = 1;
        settings.heartbeat_ms = 10;
        settings.heartbeat_lost_ms = 1_000;
    });
    let mut peer = HandMade::shake(&center, 2);
    let conn = up(&mut center);
    let ping = peer.client.frame().unwrap();
    assert_eq!(ping.0, opcode::LINK_PING);
    let down = center.next(opcode::PEER_DOWN);
    assert_eq!(
        (down.conn, down.seq),
        (conn, u32::from(CloseReason::LinkLost.number()))
    );
}

#[test]
fn what_came_before_a_link_could_not_be_written_any_more_is_not_lost() {
    let mut center = World::with(|settings| {
        settings.server_number = 1;
        settings.heartbeat_ms = 10;
        settings.inbound_events_max = 4;
        settings.inbound_high_water = 4;
        settings.inbound_low_water = 1;
    });
    let mut witness = HandMade::shake(&center, 3);
    up(&mut center);
    let mut peer = HandMade::shake(&center, 2);
    let conn = up(&mut center);
    let acts: Vec<_> = (0..20).map(|seq| frame(LINK_ACT, seq, b"")).collect();
    peer.client.raw(&acts.concat());
    spin(|| center.stat("inbound_waiting") == 4);
    drop(peer);
    // Links are pinged together: the first ping draws the reset, a later one fails.
    for _ in 0..20 {
        assert_eq!(witness.client.frame().unwrap().0, opcode::LINK_PING);
    }
    for seq in 0..20 {
        assert_eq!(center.next(LINK_ACT).seq, seq);
    }
    let down = center.next(opcode::PEER_DOWN);
    assert_eq!(
        (down.conn, down.seq),
        (conn, u32::from(CloseReason::PeerClosed.number()))
    );
}

#[test]
fn peer_that_speaks_once_more_gets_what_was_sent_before_its_link_was_closed() {
    let mut center = World::with(|settings| {
        settings.server_number = 1;
        settings.heartbeat_ms = 30_000;
        settings.close_flush_ms = 10_000;
    });
    let mut peer = HandMade::shake(&center, 2);
    let conn = up(&mut center);
    for seq in 0..4 {
        center.send(conn, LINK_ACT, seq, &[5; 199_990]);
    }
    center
        .server
        .close(ConnId::from_i64(conn), CloseReason::LinkLost)
        .unwrap();
    center.next(opcode::PEER_DOWN);
    // Most of it is still on the side of the core, in the system's keeping.
    peer.client.send(LINK_ACT, 1, b"one more");
    let _next = HandMade::shake(&center, 2);
    up(&mut center);
    let got: Vec<_> = std::iter::from_fn(|| peer.client.frame())
        .filter(|(opcode, ..)| *opcode == LINK_ACT)
        .map(|(_, seq, body)| (seq, body.len()))
        .collect();
    assert_eq!(got, [0, 1, 2, 3].map(|seq| (seq, 199_990)));
}

#[test]
fn attack_link_of_a_role_may_send_only_what_its_role_may() {
    let mut center = server(1, "center", 1);
    for opcode in [
        LINK_OTHER,
        opcode::OPENED,
        opcode::LINK_HELLO,
        opcode::ENTER,
        500,
    ] {
        let mut peer = HandMade::shake(&center, 2);
        let conn = up(&mut center);
        peer.client.send(opcode, 1, b"");
        let down = center.next(opcode::PEER_DOWN);
        assert_eq!((down.conn, down.seq), (conn, 5), "opcode {opcode}");
    }
}

#[test]
fn attack_handshake_reflected_replayed_garbled_or_cut_makes_no_link() {
    let mut center = server(1, "center", 1);
    let dialler = HandMade::dialler(2);
    // Reflected: the core's own proof comes back to it.
    let mut client = center.link_client();
    client.send(opcode::LINK_HELLO, 0, dialler.hello());
    let (_, _, challenge) = client.frame().unwrap();
    client.send(opcode::LINK_PROOF, 0, &challenge[..32]);
    assert_eq!(client.frame().unwrap().0, opcode::LINK_REFUSED);
    // Replayed: a proof that was good for another connection.
    let mut peer = HandMade::shake(&center, 2);
    up(&mut center);
    let mut client = center.link_client();
    client.send(opcode::LINK_HELLO, 0, dialler.hello());
    client.frame().unwrap();
    client.send(opcode::LINK_PROOF, 0, &peer.proof);
    assert_eq!(client.frame().unwrap().0, opcode::LINK_REFUSED);
    // Garbled, out of order, oversize, cut.
    for bytes in [
        vec![0xff; 64],
        frame(opcode::LINK_PROOF, 0, &peer.proof),
        frame(opcode::LINK_READY, 0, b""),
        frame(opcode::LINK_HELLO, 0, &[1; 5_000]),
        frame(LINK_ACT, 0, b"let me in"),
        frame(opcode::LINK_HELLO, 0, dialler.hello())[..30].to_vec(),
    ] {
        let mut client = center.link_client();
        client.raw(&bytes);
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        while client.frame().is_some() {}
    }
    peer.client.send(LINK_ACT, 3, b"still there");
    assert_eq!(
        center.next(LINK_ACT).seq,
        3,
        "no event of any of the others"
    );
    assert_eq!(center.stat("links"), 1);
}

#[test]
fn attack_link_with_wrong_secret_or_number_is_refused_on_both_sides() {
    let mut center = server(1, "center", 1);
    let stranger = World::with(|settings| {
        settings.server_number = 2;
        settings.link_secret = vec![9; 32];
    });
    let twin = server(1, "channel", 2);
    let mut lost = server(3, "channel", 1);
    stranger.server.dial(1, &address(&center)).unwrap();
    twin.server.dial(1, &address(&center)).unwrap();
    lost.server.dial(5, &address(&center)).unwrap();
    for world in [&stranger, &twin, &lost] {
        center.wait("failures", |_| world.stat("link_dial_failures_total") > 2);
    }
    assert_eq!(center.stat("links"), 0);
    assert!(center.stat("links_refused_total") > 6);
    assert!(!lost.pump_within(Duration::ZERO));
}

#[test]
fn attack_half_open_handshakes_take_no_place_for_ever() {
    let mut center = World::with(|settings| {
        settings.server_number = 1;
        settings.links_max = 2;
        settings.dial_ms = 1_000;
    });
    let silent: Vec<_> = (0..10).map(|_| center.link_client()).collect();
    center.wait("time out", |center| {
        center.stat("links_refused_total") == 10
    });
    HandMade::shake(&center, 2);
    up(&mut center);
    drop(silent);
}

#[test]
fn attack_handshakes_use_up_no_place_of_a_link() {
    let mut center = World::with(|settings| {
        settings.server_number = 1;
        settings.links_max = 2;
        settings.dial_ms = 60_000;
    });
    let mut first = HandMade::shake(&center, 2);
    let at_first = up(&mut center);
    // Half a length: the handshake is begun and stays open.
    let mut silent = center.link_client();
    silent.raw(&[1]);
    let _second = HandMade::shake(&center, 3);
    up(&mut center);
    // The places of links are taken, and one handshake more is open.
    let dialler = HandMade::dialler(4);
    let mut third = center.link_client();
    third.send(opcode::LINK_HELLO, 0, dialler.hello());
    let (_, _, challenge) = third.frame().unwrap();
    let (_, proof) = dialler.answer(&challenge).unwrap();
    third.send(opcode::LINK_PROOF, 0, &proof);
    assert_eq!(third.frame().unwrap().0, opcode::LINK_REFUSED);
    let _more: Vec<_> = (0..2).map(|_| center.link_client()).collect();
    assert_eq!(silent.frame(), None, "no third handshake at once");
    center.send(at_first, LINK_ACT, 1, b"");
    assert_eq!(first.client.frame().unwrap().0, LINK_ACT);
}

#[test]
fn attack_handshakes_that_never_end_keep_no_link_from_being_made() {
    let mut center = World::with(|settings| {
        settings.server_number = 1;
        settings.links_max = 2;
        settings.dial_ms = 60_000;
    });
    let mut silent: Vec<_> = (0..5).map(|_| center.link_client()).collect();
    let _peer = HandMade::shake(&center, 2);
    up(&mut center);
    let mut channel = server(3, "channel", 1);
    channel.server.dial(1, &address(&center)).unwrap();
    up(&mut channel);
    up(&mut center);
    assert_eq!(silent[0].frame(), None, "the oldest made room");
}

#[test]
fn attack_client_never_becomes_a_link_nor_a_link_a_client() {
    let mut center = server(1, "center", 1);
    let mut client = center.client();
    client.send(opcode::LINK_HELLO, 0, HandMade::dialler(2).hello());
    assert_eq!(client.closing(), Some(CloseReason::ForbiddenOpcode));
    center.next(opcode::OPENED);
    center.next(opcode::CLOSED);
    let mut client = center.link_client();
    client.send(opcode::ENTER, 0, &world::token(1));
    while client.frame().is_some() {}
    assert!(!center.pump_within(Duration::ZERO));
}

/// A peer that shakes hands by hand.
struct HandMade {
    client: world::Client,
    proof: [u8; 32],
}

impl HandMade {
    fn dialler(number: u16) -> mmo_core::peer::handshake::Dialler<'static> {
        let own = mmo_core::peer::handshake::Identity {
            number,
            incarnation: 1,
            role: "channel".into(),
        };
        mmo_core::peer::handshake::Dialler::new(SECRET, &own, 1, &[3; 32])
    }

    fn shake(world: &World, number: u16) -> Self {
        let dialler = Self::dialler(number);
        let mut client = world.link_client();
        client.send(opcode::LINK_HELLO, 0, dialler.hello());
        let (opcode, _, challenge) = client.frame().unwrap();
        assert_eq!(opcode, opcode::LINK_CHALLENGE);
        let (peer, proof) = dialler.answer(&challenge).unwrap();
        assert_eq!(peer.number, 1);
        client.send(opcode::LINK_PROOF, 0, &proof);
        assert_eq!(client.frame().unwrap().0, opcode::LINK_READY);
        Self { client, proof }
    }
}
