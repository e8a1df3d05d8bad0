//! The addresses behind the name of a peer.
//!
//! Owns the one question about it that runs. The system's resolver blocks a thread for as long as
//! its name server does not answer, and a dial is given up long before: so the next dial waits for
//! the same answer instead of blocking one thread more. Called by [`super::Links`].

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use tokio::task::{JoinHandle, spawn_blocking};

type Answer = io::Result<Vec<SocketAddr>>;

/// Asks for the addresses of one peer.
#[derive(Default)]
pub(super) struct Lookup {
    asked: Option<JoinHandle<Answer>>,
}

impl Lookup {
    /// The addresses of `address`, which is `host:port`. May be dropped before the answer.
    ///
    /// # Errors
    /// When the name is unknown or cannot be asked for.
    pub(super) async fn find(&mut self, address: &str) -> Answer {
        if let Ok(known) = address.parse() {
            return Ok(vec![known]);
        }
        let address = address.to_owned();
        self.ask(move || Ok(address.to_socket_addrs()?.collect()))
            .await
    }

    async fn ask(&mut self, resolve: impl FnOnce() -> Answer + Send + 'static) -> Answer {
        let asked = self.asked.get_or_insert_with(|| spawn_blocking(resolve));
        let answer = asked.await;
        self.asked = None;
        answer.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn question_that_a_dial_gave_up_is_not_asked_a_second_time() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        let (answer, answered) = mpsc::channel();
        let one: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let other: SocketAddr = "192.0.2.2:2".parse().unwrap();
        runtime.block_on(async {
            let mut lookup = Lookup::default();
            let silent = lookup.ask(move || Ok(answered.recv().unwrap()));
            let given_up = tokio::time::timeout(Duration::ZERO, silent).await;
            assert!(given_up.is_err());
            answer.send(vec![one]).unwrap();
            let again = lookup.ask(move || Ok(vec![other])).await;
            assert_eq!(again.unwrap(), [one], "the answer to the first");
            let fresh = lookup.ask(move || Ok(vec![other])).await;
            assert_eq!(fresh.unwrap(), [other]);
            assert_eq!(lookup.find("127.0.0.1:7").await.unwrap()[0].port(), 7);
            assert!(!lookup.find("localhost:7").await.unwrap().is_empty());
            assert!(lookup.find("localhost").await.is_err(), "no port");
        });
    }
}
