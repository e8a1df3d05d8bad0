//! Malformed datagrams at the servers that take any: each is judged by itself.
//!
//! Owns the sockets they leave from: those of raiders, whose proofs are repeated and altered from
//! their own address, and one of nobody. Never sends a proof that a server should believe. Called
//! by the flood.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::failure::Failure;
use crate::flood::counts::Counts;
use crate::flood::pace::Pace;
use crate::flood::packets::{Chance, Datagram, PROOF_BYTES};
use crate::options::bytes_from_hex;

/// Datagrams between two looks at the clock: fewer than a socket's buffer holds.
const AT_ONCE: u64 = 32;
/// Shortest time between so many and the next: who came late does not make up for it at once.
const REST: Duration = Duration::from_micros(500);

/// What a raid server gave one of its raiders, as far as others may know it.
#[derive(Debug)]
pub struct Identity {
    server: SocketAddr,
    own: UdpSocket,
    used: [u8; PROOF_BYTES],
    unused: [u8; PROOF_BYTES],
}

impl Identity {
    /// The identity of a line `H:P SOURCE USED UNUSED`; both proofs are hexadecimal.
    pub fn parse(line: &str) -> Result<Self, Failure> {
        let wrong = || Failure::Usage("a line is H:P SOURCE USED UNUSED".to_owned());
        let words: Vec<&str> = line.split_whitespace().collect();
        let [server, source, used, unused] = words.as_slice() else {
            return Err(wrong());
        };
        let proof =
            |text: &str| <[u8; PROOF_BYTES]>::try_from(bytes_from_hex(text)?).map_err(|_| wrong());
        let source: Ipv4Addr = source.parse().map_err(|_| wrong())?;
        Ok(Self {
            server: server.parse().map_err(|_| wrong())?,
            own: UdpSocket::bind((source, 0))?,
            used: proof(used)?,
            unused: proof(unused)?,
        })
    }
}

/// Sends at that pace. What the system does not take is not counted.
pub fn send(
    counts: &Counts,
    servers: &[SocketAddr],
    identities: &[Identity],
    pace: &Pace,
    chance: &mut Chance,
) -> Result<(), Failure> {
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let none = [0; PROOF_BYTES];
    while pace.wait(AT_ONCE) {
        for _ in 0..AT_ONCE {
            let identity = chance.one_of(identities);
            let kinds: &[Datagram] = match identity {
                Some(_) => &Datagram::ALL,
                None => &Datagram::OF_STRANGERS,
            };
            let kind = *chance.one_of(kinds).unwrap_or(&Datagram::Stranger);
            let is_own = matches!(kind, Datagram::Replayed | Datagram::Altered);
            let sent = match identity {
                Some(known) if is_own || matches!(kind, Datagram::Elsewhere) => {
                    let socket = if is_own { &known.own } else { &nobody };
                    let bytes = kind.bytes(&known.used, &known.unused, chance);
                    socket.send_to(&bytes, known.server)
                }
                _ => {
                    let server = chance.one_of(servers);
                    let server =
                        server.ok_or_else(|| Failure::Usage("--datagrams is empty".to_owned()))?;
                    nobody.send_to(&kind.bytes(&none, &none, chance), server)
                }
            };
            if sent.is_ok() {
                counts.datagrams.add(kind as usize);
            }
        }
        std::thread::sleep(REST);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn an_identity_is_read_from_its_line_or_refused() {
        let (used, unused) = ("01".repeat(PROOF_BYTES), "02".repeat(PROOF_BYTES));
        let read = Identity::parse(&format!("127.0.0.1:9 127.0.0.1 {used} {unused}")).unwrap();
        assert_eq!(
            (read.used, read.unused),
            ([1; PROOF_BYTES], [2; PROOF_BYTES])
        );
        assert!(Identity::parse(&format!("127.0.0.1:9 127.0.0.1 {used}")).is_err());
        assert!(Identity::parse(&format!("127.0.0.1:9 127.0.0.1 {used} 02")).is_err());
    }

    #[test]
    fn an_unused_proof_never_leaves_from_its_own_address() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let (used, unused) = ("01".repeat(PROOF_BYTES), "02".repeat(PROOF_BYTES));
        let address = server.local_addr().unwrap();
        let line = format!("{address} 127.5.5.5 {used} {unused}");
        let identities = [Identity::parse(&line).unwrap()];
        let counts = Counts::default();
        let pace = Pace::new(Instant::now(), Duration::from_millis(20), 3_200.0);
        send(
            &counts,
            &[address],
            &identities,
            &pace,
            &mut Chance::new(1, 1),
        )
        .unwrap();
        let mut bytes = [0; 300];
        let mut elsewhere = 0;
        while let Ok((got, from)) = server.recv_from(&mut bytes) {
            if bytes[..got] == [2; PROOF_BYTES] {
                assert_ne!(from.ip(), Ipv4Addr::new(127, 5, 5, 5));
                elsewhere += 1;
            }
        }
        assert!(elsewhere > 0);
    }
}
