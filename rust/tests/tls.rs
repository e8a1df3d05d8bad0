//! TLS on the client port. The key in `tls/` is for this test alone and protects nothing.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mmo_core::error::CloseReason;
use mmo_core::ids::{ConnId, opcode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use world::{ACT, HELLO, PATIENCE, PING, PONG, World, frame, token};

const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/certificate.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/key.pem");

fn world() -> World {
    World::with(|settings| {
        settings.tls_certificate_file = CERTIFICATE.into();
        settings.tls_key_file = KEY.into();
    })
}

fn connect(world: &World) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(CERTIFICATE).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", world.ports.client.unwrap())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(connection, stream)
}

/// A player over TLS whose token is believed, and his connection.
fn entered(world: &mut World) -> (StreamOwned<ClientConnection, TcpStream>, i64) {
    let mut client = connect(world);
    client
        .write_all(&frame(opcode::ENTER, 1, &token(7)))
        .unwrap();
    let conn = world.until(|seen| seen.opcode == opcode::ENTER).conn;
    (client, conn)
}

#[test]
fn player_enters_plays_and_is_closed_over_tls() {
    let mut world = world();
    let (mut client, conn) = entered(&mut world);
    client.write_all(&frame(PING, 2, b"core")).unwrap();
    let mut answer = vec![0; 14];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, frame(PONG, 2, b"core"));
    let long = vec![3; 400_000];
    world.send(conn, ACT, 3, &long);
    let mut answer = vec![0; 10 + long.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, frame(ACT, 3, &long));
    world
        .server
        .close(ConnId::from_i64(conn), CloseReason::Kicked)
        .unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, frame(opcode::CLOSING, 0, &[0x91, 18]));
    assert_eq!(world.closed(conn), CloseReason::Kicked);
}

#[test]
fn answers_that_the_system_takes_at_once_are_no_waits() {
    let mut world = world();
    let (mut client, conn) = entered(&mut world);
    let mut answer = [0; 13];
    for seq in 0..100 {
        world.send(conn, ACT, seq, b"few");
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..], frame(ACT, seq, b"few"));
    }
    assert_eq!(world.stat("write_waits_total"), 0);
    world.wait("full", |world| {
        world.send(conn, ACT, 1, &[1; 50_000]);
        world.stat("write_waits_total") > 0
    });
}

#[test]
fn attack_client_that_does_not_read_leaves_nothing_with_the_system_over_tls() {
    let mut world = world();
    let (mut client, conn) = entered(&mut world);
    while world.send(conn, ACT, 1, &[1; 50_000]).is_empty() {}
    assert_eq!(world.closed(conn), CloseReason::SlowConsumer);
    let end = client.sock.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn attack_plain_text_on_the_tls_port_is_closed_and_counted() {
    let mut world = world();
    let mut client = world.client();
    client.raw(&frame(opcode::ENTER, 1, &token(7)));
    world.wait("closed", |world| world.stat("closed_tls_failed_total") == 1);
    assert!(world.seen.is_empty(), "Python never hears of it");
    let mut client = connect(&world);
    client
        .write_all(&frame(opcode::ENTER, 1, &token(8)))
        .unwrap();
    assert_eq!(world.until(|seen| seen.opcode == opcode::ENTER).user, 8);
}

#[test]
fn attack_clients_that_never_shake_hands_are_counted_as_unproved_once() {
    let mut world = World::with(|settings| {
        settings.tls_certificate_file = CERTIFICATE.into();
        settings.tls_key_file = KEY.into();
        settings.connections_unproved_max = 2;
    });
    let silent = [world.client(), world.client()];
    world.wait("counted", |world| world.stat("connections_unproved") == 2);
    assert_eq!(world.client().frame(), None);
    assert_eq!(world.stat("closed_server_full_total"), 1);
    drop(silent);
    world.wait("given back", |world| {
        world.stat("connections_unproved") == 0
    });
    assert_eq!(world.stat("closed_tls_failed_total"), 2);
    let mut client = connect(&world);
    client.write_all(&frame(HELLO, 1, b"")).unwrap();
    world.until(|seen| seen.opcode == HELLO);
    assert_eq!(world.stat("connections_unproved"), 1, "and not twice");
    client
        .write_all(&frame(opcode::ENTER, 2, &token(8)))
        .unwrap();
    world.until(|seen| seen.opcode == opcode::ENTER);
    assert_eq!(world.stat("connections_unproved"), 0);
}

#[test]
fn attack_slow_handshake_wins_no_time_to_prove_oneself() {
    let prove = Duration::from_secs(3);
    let mut world = World::with(|settings| {
        settings.tls_certificate_file = CERTIFICATE.into();
        settings.tls_key_file = KEY.into();
        settings.prove_ms = u64::try_from(prove.as_millis()).unwrap();
    });
    let mut client = connect(&world);
    assert!(!world.pump_within(prove / 2), "no word of TLS was said");
    let begun = Instant::now();
    client.write_all(&frame(HELLO, 1, b"")).unwrap();
    let conn = world.until(|seen| seen.opcode == HELLO).conn;
    assert_eq!(world.closed(conn), CloseReason::ProveTimeout);
    assert!(begun.elapsed() < prove, "one deadline for both");
}

#[test]
fn handshake_that_ends_after_the_stop_opens_nothing() {
    let mut world = world();
    let (player, conn) = entered(&mut world);
    let mut late = connect(&world);
    world.wait("accepted", |world| world.stat("connections_unproved") == 1);
    world.server.begin_shutdown(5_000).unwrap();
    assert_eq!(world.closed(conn), CloseReason::ServerStopping);
    world.next(opcode::STOPPED);
    // The player does not close, so the thread still runs when the other one says his first word.
    let _ = late.write_all(&frame(opcode::ENTER, 1, &token(8)));
    let _ = late.read_to_end(&mut Vec::new());
    drop(player);
    world.server.finish_shutdown().unwrap();
    assert_eq!(world.pump(10), 0, "nothing after STOPPED");
}

#[test]
fn certificate_that_cannot_be_read_is_named() {
    let mut settings = world::settings();
    settings.tls_certificate_file = "/nowhere.pem".into();
    settings.tls_key_file = KEY.into();
    let server = mmo_core::server::Server::new(settings).unwrap();
    assert!(
        server
            .start()
            .unwrap_err()
            .to_string()
            .contains("tls_certificate_file")
    );
}
