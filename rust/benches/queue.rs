//! One event through the inbound queue, and one wake that nobody needs.

#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use mmo_core::queue::{Body, Event, Inbound, InboundLimits};
use mmo_core::wake::{EventSignal, Wake};

fn queue_event(criterion: &mut Criterion) {
    let limits = InboundLimits {
        events_max: 1024,
        high_water: 1024,
        low_water: 10,
        lifecycle_max: 1,
    };
    let inbound = Inbound::new(limits);
    criterion.bench_function("queue_push_pop", |bencher| {
        bencher.iter(|| {
            inbound.push(Event {
                conn: 1,
                user: 2,
                seq: 3,
                opcode: 500,
                is_lifecycle: false,
                body: Body::Empty,
            });
            inbound.pop()
        });
    });
    let wake = Wake::new(EventSignal::new().unwrap());
    wake.awake();
    criterion.bench_function("wake_of_the_awake", |bencher| bencher.iter(|| wake.ring()));
}

criterion_group!(benches, queue_event);
criterion_main!(benches);
