//! Accepting clients.
//!
//! Owns the client listener: permits, back-off after errors, limits per address and for those
//! without a token, and the TLS handshake. Never reads a frame: that is `conn`. Called by `server`.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;

use crate::config::Settings;
use crate::conn::Peer;
use crate::conn::net::Net;
use crate::conn::places::Place;
use crate::conn::serve::serve;
use crate::conn::stream::Stream;
use crate::error::{CloseReason, CoreError};
use crate::gate::Gate;
use crate::ids::opcode;

/// Binds a listener on `host:port`; port 0 lets the system pick.
///
/// # Errors
/// `CoreError::Address` naming it.
pub fn bind(host: &str, port: u16, backlog: u32) -> Result<TcpListener, CoreError> {
    let wrong = |source| CoreError::Address {
        address: format!("{host}:{port}"),
        source,
    };
    let address = resolve(host, port).map_err(wrong)?;
    let open = || {
        let socket = match address {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
        };
        // A restarted node must not wait for connections of the former one to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(backlog)
    };
    open().map_err(wrong)
}

/// The first address of `host:port`.
///
/// # Errors
/// When the name is unknown.
pub fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    use std::net::ToSocketAddrs;
    (host, port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The acceptor for the two files of `settings`, when they are set.
///
/// # Errors
/// `CoreError::Setting` naming the file that is wrong.
pub fn tls(settings: &Settings) -> Result<Option<TlsAcceptor>, CoreError> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    if settings.tls_certificate_file.is_empty() {
        return Ok(None);
    }
    let wrong = |field, why: String| CoreError::Setting { field, why };
    let certificates = CertificateDer::pem_file_iter(&settings.tls_certificate_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong("tls_certificate_file", error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&settings.tls_key_file)
        .map_err(|error| wrong("tls_key_file", error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(certificates, key)
        })
        .map_err(|error| wrong("tls_certificate_file", error.to_string()))?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// What connections of an address are counted under. Whoever has one IPv6 address has the 2^64 of
/// its network (RFC 6177), so the network is counted; an IPv4 address in IPv6 clothes is itself.
#[must_use]
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(known) => IpAddr::V4(known),
        IpAddr::V6(known) => IpAddr::V6(Ipv6Addr::from_bits(known.to_bits() & NETWORK_MASK)),
    }
}

/// Accepts for ever; `server` aborts it when the core stops.
pub async fn accept(net: Rc<Net>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let mut pause = PAUSE_MIN;
    loop {
        permit(&net).await;
        match listener.accept().await {
            Ok((stream, address)) => {
                pause = PAUSE_MIN;
                admit(&net, stream, address, tls.as_ref());
                net.worked();
            }
            Err(error) => {
                net.crossing.inbound.release_lifecycle(2);
                net.stats().accept_errors_total.add(1);
                net.record(0, || format!("accept failed: {error}"));
                // Mostly descriptors ran out; asking again at once would only burn the core.
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// Waits until one more connection may exist and reserves its lifecycle events. What all links
/// need to be made anew stays free.
async fn permit(net: &Net) {
    let with_links = 2 + 2 * net.settings.links_max as usize;
    let mut counted = false;
    loop {
        let freed = net.freed.notified();
        tokio::pin!(freed);
        freed.as_mut().enable();
        if net.places.has_one() {
            let inbound = &net.crossing.inbound;
            if inbound.has_lifecycle(with_links) && inbound.reserve_lifecycle(2) {
                return;
            }
            // Python has yet to take the end of earlier connections; it says when it did.
            if !inbound.stop_reading(|| inbound.has_lifecycle(with_links)) {
                continue;
            }
        }
        if !std::mem::replace(&mut counted, true) {
            net.stats().accept_waits_total.add(1);
        }
        freed.await;
    }
}

fn admit(net: &Rc<Net>, stream: TcpStream, address: SocketAddr, tls: Option<&TlsAcceptor>) {
    net.stats().accepted_total.add(1);
    let place = match net.places.take(subscriber(address.ip())) {
        Ok(place) => place,
        Err(reason) => {
            refuse(net, reason, address);
            return;
        }
    };
    // Answers are small and must not wait for more to be sent.
    let _ = stream.set_nodelay(true);
    let net = Rc::clone(net);
    match tls {
        None => {
            let (reader, writer) = stream.into_split();
            if let Some(connection) = open_client(&net, place, address, Some(writer)) {
                let stream = Stream::Tcp(reader);
                spawn_local(serve(net, connection, stream, None, || {}));
            }
        }
        Some(tls) => {
            spawn_local(shake_hands(net, place, stream, address, tls.clone()));
        }
    }
}

async fn shake_hands(
    net: Rc<Net>,
    place: Place,
    stream: TcpStream,
    address: SocketAddr,
    tls: TlsAcceptor,
) {
    let time = Duration::from_millis(net.settings.prove_ms);
    let mut accepting = tls.accept(stream);
    let steps = poll_fn(|context| {
        net.worked();
        Pin::new(&mut accepting).poll(context)
    });
    let shaken = tokio::time::timeout(time, steps).await;
    let Ok(Ok(stream)) = shaken else {
        refuse(&net, CloseReason::TlsFailed, address);
        return;
    };
    if let Some(connection) = open_client(&net, place, address, None) {
        let stream = Stream::Any(Box::new(stream));
        serve(net, connection, stream, None, || {}).await;
    }
}

fn open_client(
    net: &Net,
    place: Place,
    address: SocketAddr,
    writer: Option<tokio::net::tcp::OwnedWriteHalf>,
) -> Option<Rc<crate::conn::Connection>> {
    if net.is_stopping() {
        // Its handshake took until now, and STOPPED may have been told.
        refuse(net, CloseReason::ServerStopping, address);
        return None;
    }
    let gate = Gate::for_client(net.rules(), place.since_ns());
    let first = (opcode::OPENED, address.to_string());
    let connection = net.open(Peer::Client(place), gate, writer, first);
    if connection.is_none() {
        refuse(net, CloseReason::ServerFull, address);
    }
    connection
}

/// Counts a connection that Python never hears of; dropping its socket closes it.
fn refuse(net: &Net, reason: CloseReason, address: SocketAddr) {
    net.crossing.inbound.release_lifecycle(2);
    net.stats().closed(reason);
    net.record(0, || format!("refused {} from {address}", reason.name()));
    net.freed.notify_waiters();
}

const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(1000);
const NETWORK_MASK: u128 = u128::MAX << 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> String {
        subscriber(text.parse().expect("an address")).to_string()
    }

    #[test]
    fn subscriber_of_an_ipv6_address_is_its_network() {
        assert_eq!(counted("2001:db8:0:7::1"), "2001:db8:0:7::");
        assert_eq!(counted("2001:db8:0:7:ffff:1:2:3"), "2001:db8:0:7::");
        assert_eq!(counted("2001:db8:0:8::1"), "2001:db8:0:8::");
    }

    #[test]
    fn subscriber_of_an_ipv4_address_is_itself() {
        assert_eq!(counted("192.0.2.7"), "192.0.2.7");
        assert_eq!(counted("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
