//! The parts of the network thread one by one, on a runtime of the test's own.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use hmac::{Hmac, KeyInit, Mac};
use mmo_core::config::Settings;
use mmo_core::conn::crossing::Crossing;
use mmo_core::conn::net::Net;
use mmo_core::conn::serve::serve;
use mmo_core::conn::stream::{ByteStream, Stream};
use mmo_core::conn::{Connection, Peer};
use mmo_core::datagram::Datagrams;
use mmo_core::error::CloseReason;
use mmo_core::gate::Gate;
use mmo_core::ids::opcode;
use mmo_core::listener;
use mmo_core::registry::Command;
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::task::{LocalSet, spawn_local, yield_now};
use world::{ACT, PATIENCE, PING, PONG, frame, udp};

/// Runs `test` as the network thread would run, with nobody who takes mail beside it.
fn inside(change: impl FnOnce(&mut Settings), test: impl AsyncFnOnce(Rc<Net>)) {
    let mut settings = world::settings();
    change(&mut settings);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let set = LocalSet::new();
    set.block_on(&runtime, async {
        let (crossing, bodies) = Crossing::new(&settings).unwrap();
        test(Rc::new(Net::new(settings, crossing, bodies).unwrap())).await;
    });
}

/// A connection from `address` that no task serves.
fn open(net: &Net, address: IpAddr) -> Rc<Connection> {
    assert!(net.crossing.inbound.reserve_lifecycle(2));
    let peer = Peer::Client(net.places.take(address).unwrap());
    let gate = Gate::for_client(net.rules(), net.now_ns());
    let first = (opcode::OPENED, address.to_string());
    net.open(peer, gate, None, first).unwrap()
}

async fn until(what: &str, held: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !held() {
            yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

fn post_close(net: &Net, connection: &Connection) {
    let close = Command::Close(connection.id, CloseReason::Kicked);
    net.crossing.mailbox.post(|mail| mail.commands.push(close));
}

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A player's datagram identity: its number and key.
struct Key(u64, [u8; 16]);

impl Key {
    fn give(datagrams: &Datagrams, connection: &Connection, number: u64) -> Self {
        let key = [u8::try_from(number).unwrap(); 16];
        datagrams.add(connection.id, 7, number, key);
        Self(number, key)
    }

    fn proof(&self, counter: u64) -> Vec<u8> {
        let mut proof = [self.0.to_le_bytes(), counter.to_le_bytes()].concat();
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.1).unwrap();
        mac.update(&proof);
        proof.extend_from_slice(&mac.finalize().into_bytes()[..8]);
        proof
    }
}

/// A player's connection that is served, and his end of it.
fn served(net: &Rc<Net>) -> (Rc<Connection>, DuplexStream) {
    let connection = open(net, HOST);
    connection.set_user(net, 7);
    let (own, other) = tokio::io::duplex(1_024);
    let stream = Stream::Any(Box::new(own));
    spawn_local(serve(
        Rc::clone(net),
        Rc::clone(&connection),
        stream,
        None,
        || {},
    ));
    (connection, other)
}

/// Mail is taken while a player sends `pieces` again and again and reads every answer.
fn assert_mail_goes_on_beside(pieces: Vec<Vec<u8>>) {
    inside(
        |_| {},
        async |net| {
            let (connection, other) = served(&net);
            let (mut reader, mut writer) = tokio::io::split(other);
            spawn_local(async move {
                let mut answers = [0; 4_096];
                while reader.read(&mut answers).await.is_ok_and(|got| got > 0) {}
            });
            post_close(&net, &connection);
            spawn_local(async move {
                for piece in pieces.iter().cycle() {
                    if writer.write_all(piece).await.is_err() {
                        return;
                    }
                    yield_now().await;
                }
            });
            until("mail", || connection.is_closing()).await;
            assert_eq!(net.stats().received_messages_total.get(), 0);
        },
    );
}

#[test]
fn attack_echoes_that_never_end_hold_back_no_mail() {
    assert_mail_goes_on_beside(vec![frame(PING, 1, b"")]);
}

#[test]
fn attack_frame_in_many_pieces_holds_back_no_mail() {
    let pieces = frame(ACT, 1, &[7; 10_000]);
    assert_mail_goes_on_beside(pieces.chunks(1).map(<[u8]>::to_vec).collect());
}

/// A stream that always has something to look at and never anything to read: TLS whose records
/// come byte by byte.
struct Trickle;

impl AsyncRead for Trickle {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncWrite for Trickle {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, b: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(b.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl ByteStream for Trickle {
    fn socket(&self) -> Option<&tokio::net::TcpStream> {
        None
    }
}

#[test]
fn attack_record_that_never_becomes_whole_holds_back_no_mail() {
    inside(
        |_| {},
        async |net| {
            let trickling = open(&net, HOST);
            let stream = Stream::Any(Box::new(Trickle));
            spawn_local(serve(
                Rc::clone(&net),
                Rc::clone(&trickling),
                stream,
                None,
                || {},
            ));
            let connection = open(&net, HOST);
            post_close(&net, &connection);
            until("mail", || connection.is_closing()).await;
        },
    );
}

#[test]
fn attack_sender_who_goes_on_after_his_end_holds_back_no_mail() {
    inside(
        |_| {},
        async |net| {
            let (ending, other) = served(&net);
            let (mut reader, mut writer) = tokio::io::split(other);
            spawn_local(async move {
                let mut rest = Vec::new();
                reader.read_to_end(&mut rest).await
            });
            ending.begin_close(&net, CloseReason::Kicked);
            until("its end", || net.lingering() == 1).await;
            let connection = open(&net, HOST);
            post_close(&net, &connection);
            spawn_local(async move {
                while writer.write_all(b"x").await.is_ok() {
                    yield_now().await;
                }
            });
            until("mail", || connection.is_closing()).await;
        },
    );
}

#[test]
fn attack_datagrams_that_never_end_hold_back_no_mail() {
    inside(
        |_| {},
        async |net| {
            let datagrams = Datagrams::bind(Rc::clone(&net)).await.unwrap().unwrap();
            let flood = udp(datagrams.port().unwrap());
            spawn_local(Rc::clone(&datagrams).receive());
            let connection = open(&net, HOST);
            post_close(&net, &connection);
            until("mail", || {
                flood.send(b"garbage").unwrap();
                connection.is_closing()
            })
            .await;
        },
    );
}

#[test]
fn reader_that_stops_is_counted_once_however_often_it_is_looked_at() {
    let small_queue = |settings: &mut Settings| {
        settings.inbound_high_water = 4;
        settings.inbound_low_water = 1;
    };
    inside(small_queue, async |net| {
        let (connection, other) = served(&net);
        let (mut reader, mut writer) = tokio::io::split(other);
        writer
            .write_all(&frame(ACT, 1, b"").repeat(20))
            .await
            .unwrap();
        let waits = || net.stats().reader_waits_total.get();
        until("stopped", || waits() == 1).await;
        for seq in 0..5 {
            connection.add_own(&net, PONG, seq, b"");
            connection.flush(&net);
            reader.read_exact(&mut [0; 10]).await.unwrap();
        }
        assert_eq!(waits(), 1);
        while net.crossing.inbound.pop().is_some() {}
        net.crossing.resume.store(true, Ordering::Release);
        net.pass();
        until("stopped again", || waits() == 2).await;
        assert_eq!(net.crossing.inbound.waiting(), 4);
    });
}

#[test]
fn what_came_before_a_stream_took_no_more_is_not_lost() {
    let small_queue = |settings: &mut Settings| {
        settings.inbound_high_water = 4;
        settings.inbound_low_water = 1;
    };
    inside(small_queue, async |net| {
        let (connection, mut other) = served(&net);
        other
            .write_all(&frame(ACT, 1, b"").repeat(20))
            .await
            .unwrap();
        until("stopped", || net.stats().reader_waits_total.get() == 1).await;
        drop(other);
        for seq in 0..3 {
            connection.add_own(&net, PONG, seq, b"");
            connection.flush(&net);
            yield_now().await;
        }
        assert_eq!(connection.waiting(), 0, "the write failed");
        let seen = RefCell::new(Vec::new());
        until("its end", || {
            while let Some(event) = net.crossing.inbound.pop() {
                seen.borrow_mut().push(event.opcode);
            }
            net.crossing.resume.store(true, Ordering::Release);
            net.pass();
            seen.borrow().last() == Some(&opcode::CLOSED)
        })
        .await;
        let acts = seen.borrow().iter().filter(|one| **one == ACT).count();
        assert_eq!(acts, 20);
    });
}

/// A stream that takes nothing and goes on speaking.
struct Shouting(bool);

impl AsyncRead for Shouting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0 = !self.0;
        if self.0 {
            buffer.put_slice(&frame(PING, 1, b""));
            return Poll::Ready(Ok(()));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncWrite for Shouting {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }
}

impl ByteStream for Shouting {
    fn socket(&self) -> Option<&tokio::net::TcpStream> {
        None
    }
}

#[test]
fn attack_player_who_takes_nothing_does_not_stay_for_what_he_says() {
    inside(
        |settings| settings.idle_ms = 50,
        async |net| {
            let connection = open(&net, HOST);
            connection.set_user(&net, 7);
            let stream = Stream::Any(Box::new(Shouting(false)));
            spawn_local(serve(Rc::clone(&net), connection, stream, None, || {}));
            until("its end", || {
                net.sweep();
                net.stats().connections.get() == 0
            })
            .await;
            let seen = std::iter::from_fn(|| net.crossing.inbound.pop());
            let last = seen.last().unwrap();
            let idle = u32::from(CloseReason::Idle.number());
            assert_eq!((last.opcode, last.seq), (opcode::CLOSED, idle));
        },
    );
}

#[test]
fn attack_connections_that_never_end_hold_back_no_mail() {
    let one_place = |settings: &mut Settings| settings.connections_unproved_max = 1;
    inside(one_place, async |net| {
        let listener = listener::bind("127.0.0.1", 0, 128).unwrap();
        let port = listener.local_addr().unwrap().port();
        spawn_local(listener::accept(Rc::clone(&net), listener, None));
        let connection = open(&net, HOST);
        post_close(&net, &connection);
        until("mail", || {
            let address = SocketAddr::from((HOST, port));
            // Nobody waits for it to be refused.
            drop(TcpStream::connect(address).unwrap());
            connection.is_closing()
        })
        .await;
    });
}

#[test]
fn attack_connections_that_nobody_hears_of_leave_room_for_every_link() {
    let few = |settings: &mut Settings| settings.connections_max = 4;
    inside(few, async |net| {
        let listener = listener::bind("127.0.0.1", 0, 128).unwrap();
        let address = listener.local_addr().unwrap();
        spawn_local(listener::accept(Rc::clone(&net), listener, None));
        until("a connection that has to wait", || {
            // It ends at once, and Python takes neither its begin nor its end.
            drop(TcpStream::connect(address).unwrap());
            net.stats().accept_waits_total.get() > 0
        })
        .await;
        let room = 2 * net.settings.links_max as usize;
        assert!(net.crossing.inbound.has_lifecycle(room));
    });
}

#[test]
fn attack_address_that_cannot_be_sent_to_silences_nobody_behind_it() {
    inside(
        |_| {},
        async |net| {
            let datagrams = Datagrams::bind(Rc::clone(&net)).await.unwrap().unwrap();
            let good = udp(datagrams.port().unwrap());
            let good_address = good.local_addr().unwrap();
            // Broadcast: the system refuses it to a socket that did not ask for it.
            let bad_address = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
            let bad = open(&net, bad_address.ip());
            let others = [open(&net, HOST), open(&net, HOST)];
            let bad_key = Key::give(&datagrams, &bad, 1);
            let portless = SocketAddr::from((bad_address.ip(), 0));
            assert!(!datagrams.prove(&bad_key.proof(1), portless));
            assert!(datagrams.prove(&bad_key.proof(1), bad_address));
            for (number, other) in (2..).zip(&others) {
                let key = Key::give(&datagrams, other, number);
                assert!(datagrams.prove(&key.proof(1), good_address));
            }
            let takes = |one: &Connection| net.crossing.slots.takes_datagrams(one.id, net.now_ns());
            assert!(takes(&bad) && takes(&others[0]));
            let stats = net.stats();
            until("writable", || {
                datagrams.send(&[others[0].id], 800, b"0000");
                stats.datagrams_sent_total.get() == 1
            })
            .await;
            let dropped = stats.datagrams_dropped_total.get();
            datagrams.send(&[others[0].id, bad.id, others[1].id], 800, b"news");
            let mut datagram = [0; 100];
            for _ in 0..3 {
                assert_eq!(good.recv(&mut datagram).unwrap(), 4 + 4 + 2 + 4 + 8);
            }
            assert_eq!(stats.datagrams_sent_total.get(), 3);
            assert_eq!(stats.datagrams_dropped_total.get(), dropped + 1);
            assert!(!takes(&bad), "told by TCP from now on");
            assert!(takes(&others[0]) && takes(&others[1]));
        },
    );
}

#[test]
fn attack_datagram_from_another_host_proves_no_address() {
    inside(
        |_| {},
        async |net| {
            let datagrams = Datagrams::bind(Rc::clone(&net)).await.unwrap().unwrap();
            let key = Key::give(&datagrams, &open(&net, HOST), 1);
            let victim = SocketAddr::from(([127, 0, 0, 2], 53));
            assert!(!datagrams.prove(&key.proof(9), victim));
            let own = SocketAddr::from((HOST, 53));
            assert!(
                datagrams.prove(&key.proof(1), own),
                "the other changed nothing"
            );
            let clothed = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 53));
            assert!(datagrams.prove(&key.proof(2), clothed));
        },
    );
}
