//! Every interleaving of the hand-over between the two threads, checked by loom.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p mmo-core --release --test loom --target-dir target/loom`

#![cfg(loom)]
#![allow(clippy::unwrap_used, missing_docs)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use mmo_core::pool::SlotPool;
use mmo_core::queue::{Body, Event, Inbound, InboundLimits, Mailbox};
use mmo_core::wake::{Signal, Wake};

#[derive(Default)]
struct Raised(AtomicBool);

impl Signal for Raised {
    fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Raised {
    fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

fn inbound(low_water: usize, high_water: usize) -> Arc<Inbound> {
    Arc::new(Inbound::new(InboundLimits {
        events_max: high_water,
        high_water,
        low_water,
        lifecycle_max: 1,
    }))
}

fn event(seq: u32) -> Event {
    Event {
        conn: 1,
        user: 1,
        seq,
        opcode: 500,
        is_lifecycle: false,
        body: Body::Empty,
    }
}

#[test]
fn no_wake_is_lost_between_queue_and_sleeper() {
    loom::model(|| {
        let queue = inbound(0, 4);
        let wake = Arc::new(Wake::new(Raised::default()));
        let producer = thread::spawn({
            let (queue, wake) = (Arc::clone(&queue), Arc::clone(&wake));
            move || {
                for seq in 0..2 {
                    queue.push(event(seq));
                    wake.ring();
                }
            }
        });
        let mut taken = 0;
        while queue.pop().is_some() {
            taken += 1;
        }
        wake.sleep(|| !queue.is_empty());
        producer.join().unwrap();
        let left = std::iter::from_fn(|| queue.pop()).count();
        assert!(
            left == 0 || wake.signal().is_raised(),
            "{left} wait and nobody was told"
        );
        assert_eq!(taken + left, 2);
    });
}

#[test]
fn no_stopped_reader_is_forgotten() {
    loom::model(|| {
        let queue = inbound(0, 1);
        queue.push(event(0));
        let reader = thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.stop_reading(|| queue.room() > 0)
        });
        assert!(queue.pop().is_some());
        let resumed = queue.resume_reading();
        let stopped = reader.join().unwrap();
        assert!(
            !stopped || resumed,
            "the reader sleeps and nobody will wake it"
        );
    });
}

#[test]
fn no_mail_is_left_by_a_thread_that_parks() {
    loom::model(|| {
        let mailbox = Arc::new(Mailbox::new(Vec::new()));
        let wake = Arc::new(Wake::new(Raised::default()));
        wake.awake();
        let poster = thread::spawn({
            let (mailbox, wake) = (Arc::clone(&mailbox), Arc::clone(&wake));
            move || {
                for letter in 0..2 {
                    mailbox.post(|mail| mail.push(letter));
                    wake.ring();
                }
            }
        });
        let mut taken = Vec::new();
        let mut all = Vec::new();
        while mailbox.take(&mut taken) {
            all.append(&mut taken);
        }
        wake.sleep(|| mailbox.has_mail());
        poster.join().unwrap();
        if mailbox.take(&mut taken) {
            assert!(wake.signal().is_raised(), "mail waits and nobody was told");
            all.append(&mut taken);
        }
        assert_eq!(all, [0, 1]);
    });
}

#[test]
fn no_slot_is_lost_or_lent_twice() {
    loom::model(|| {
        let mut pool = SlotPool::new(1, 2);
        let returns = pool.returns();
        let mut spent = vec![pool.store(&[1]).unwrap()];
        let giver = thread::spawn(move || returns.give_back(&mut spent));
        let second = pool.store(&[2]).unwrap();
        let third = pool.store(&[3]);
        assert_eq!(second.as_slice(), [2]);
        giver.join().unwrap();
        let lent = 1 + usize::from(third.is_some());
        let more = std::iter::from_fn(|| pool.store(&[4]))
            .take(3)
            .collect::<Vec<_>>();
        assert_eq!(lent + more.len(), 2);
        assert_eq!(second.as_slice(), [2]);
    });
}
