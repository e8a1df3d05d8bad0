//! What holds for any input, by proptest.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::io::IoSlice;
use std::sync::Arc;

use mmo_core::bucket::{Bucket, Rate};
use mmo_core::frame;
use mmo_core::gate::{Gate, GateRules, Verdict};
use mmo_core::ids::opcode;
use mmo_core::outbox::{Outbox, SLICES_MAX};
use mmo_core::peer::handshake::{Acceptor, Dialler, Identity};
use mmo_core::ring::Ring;
use mmo_core::token::TokenRules;
use proptest::collection::vec;
use proptest::prelude::*;

type Message = (u16, u32, Vec<u8>);

fn messages() -> impl Strategy<Value = Vec<Message>> {
    vec(
        (any::<u16>(), any::<u32>(), vec(any::<u8>(), 0..300)),
        0..20,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_survive_any_split(sent in messages(), cuts in vec(1usize..400, 1..60)) {
        let mut bytes = Vec::new();
        for (opcode, seq, body) in &sent {
            frame::encode(&mut bytes, *opcode, *seq, body);
        }
        let mut ring = Ring::new(1_000);
        let mut found: Vec<Message> = Vec::new();
        let mut cuts = cuts.into_iter().cycle();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let step = cuts.next().unwrap().min(rest.len()).min(ring.room().len());
            ring.hold(&rest[..step]);
            rest = &rest[step..];
            while let Some(next) = frame::decode(ring.readable(), 400).unwrap() {
                found.push((next.opcode, next.seq, next.body.to_vec()));
                let used = next.wire_bytes();
                ring.consume(used);
            }
        }
        prop_assert_eq!(found, sent);
        prop_assert!(ring.is_empty());
    }

    #[test]
    fn decode_takes_any_bytes(bytes in vec(any::<u8>(), 0..64), most in 0u32..100) {
        if let Ok(Some(next)) = frame::decode(&bytes, most) {
            prop_assert!(next.body.len() + 6 <= most as usize);
            prop_assert!(next.wire_bytes() <= bytes.len());
        }
    }

    #[test]
    fn outbox_sends_what_was_added_in_order(
        adds in vec((any::<bool>(), 1usize..3_000), 1..30),
        steps in vec(1usize..5_000, 1..30),
    ) {
        let mut outbox = Outbox::default();
        let (mut expected, mut sent) = (Vec::new(), Vec::new());
        let mut steps = steps.into_iter().cycle();
        let mut fill = 0u8;
        for (shared, length) in adds {
            fill = fill.wrapping_add(1);
            let bytes = vec![fill; length];
            if shared {
                outbox.add_shared(&Arc::from(bytes.as_slice()));
            } else {
                outbox.add(&bytes);
            }
            expected.extend(bytes);
            send(&mut outbox, steps.next().unwrap(), &mut sent);
        }
        while !outbox.is_empty() {
            send(&mut outbox, steps.next().unwrap(), &mut sent);
        }
        prop_assert_eq!(sent, expected);
    }

    #[test]
    fn bucket_never_admits_more_than_its_rate(
        per_s in 1u32..10_000,
        burst in 1u64..1_000,
        gaps in vec(0u64..50_000_000, 1..300),
    ) {
        let rate = Rate::new(f64::from(per_s), burst);
        let mut bucket = Bucket::default();
        let (mut now_ns, mut admitted) = (1_000_000_000, 0u64);
        let start_ns = now_ns;
        for gap in gaps {
            now_ns += gap;
            admitted += u64::from(bucket.take(rate, 1, now_ns));
            let earned = u128::from(now_ns - start_ns) * u128::from(per_s) / 1_000_000_000;
            // One per cent and one for the rounding of nanoseconds.
            prop_assert!(u128::from(admitted) <= u128::from(burst) + earned + earned / 100 + 1);
        }
    }

    #[test]
    fn token_of_any_bytes_is_not_believed(bytes in vec(any::<u8>(), 0..400)) {
        let rules = TokenRules::new(&world::settings()).unwrap();
        prop_assert!(rules.verify(&bytes, 0).is_err());
    }

    #[test]
    fn token_of_any_signed_text_never_panics(
        header in "[ -~]{0,60}",
        claims in "[ -~]{0,200}",
        now_s in any::<i64>(),
    ) {
        let rules = TokenRules::new(&world::settings()).unwrap();
        prop_assert!(rules.verify(&world::signed(&header, &claims), now_s).is_err());
        prop_assert!(rules.verify(&world::signed(world::HEADER, &claims), now_s).is_err());
        let _ = rules.verify(&world::token(1), now_s);
    }

    #[test]
    fn handshake_of_any_bytes_is_refused(bytes in vec(any::<u8>(), 0..300)) {
        let own = Identity { number: 1, incarnation: 1, role: "center".into() };
        if let Ok((acceptor, _)) = Acceptor::new(world::SECRET, &own, &bytes, &[1; 32]) {
            prop_assert!(acceptor.finish(&bytes).is_err());
        }
        let dialler = Dialler::new(world::SECRET, &own, 2, &[1; 32]);
        prop_assert!(dialler.answer(&bytes).is_err());
    }

    #[test]
    fn gate_delivers_only_what_the_state_allows(
        steps in vec(
            (any::<bool>(), 0i64..2, prop_oneof![90u16..120, 495u16..505, Just(200)]),
            1..80,
        ),
    ) {
        let rules = GateRules::new(&world::settings()).unwrap();
        let mut gate = Gate::for_client(&rules, 1);
        let mut now_ns = 1;
        for (changes_user, user, number) in steps {
            now_ns += 1_000_000;
            if changes_user {
                gate.set_user(user, now_ns);
            }
            prop_assert_eq!(gate.is_open(), gate.user() == 0);
            let verdict = gate.judge(&rules, number, 10, now_ns);
            let known = match (number, gate.is_open()) {
                (world::HELLO, _) | (200, true) | (world::ACT | 501, false) => {
                    matches!(verdict, Verdict::Deliver | Verdict::Close(_))
                }
                (world::PING, false) => verdict == Verdict::Echo(world::PONG),
                (opcode::ENTER, true) => verdict == Verdict::Verify,
                _ => matches!(verdict, Verdict::Close(_)),
            };
            prop_assert!(known, "{} in {:?} gave {:?}", number, gate, verdict);
        }
    }

    #[test]
    fn holding_a_client_lets_him_send_no_more_than_his_burst_and_his_rate(
        steps in vec((any::<bool>(), any::<bool>(), 0u64..3_000, 0u64..80), 1..40),
    ) {
        let rules = rules_of_twenty_a_second();
        let (mut gate, begin_ns) = (player(&rules), SECOND_NS);
        let (mut now_ns, mut accepted) = (begin_ns, 0);
        for (held, caught_up, passed_ms, frames) in steps {
            now_ns += passed_ms * 1_000_000;
            gate.hold(held, now_ns);
            accepted += (0..frames).filter(|_| delivers(&mut gate, &rules, now_ns)).count();
            if caught_up {
                gate.caught_up();
            }
            let most = 40 + (now_ns - begin_ns) * 20 / SECOND_NS;
            prop_assert!(accepted as u64 <= most, "{} of {}", accepted, most);
        }
    }
}

const SECOND_NS: u64 = 1_000_000_000;

fn rules_of_twenty_a_second() -> GateRules {
    let mut settings = world::settings();
    settings.rate_classes[0] = ("fast".into(), 20.0, 40);
    GateRules::new(&settings).unwrap()
}

fn player(rules: &GateRules) -> Gate {
    let mut gate = Gate::for_client(rules, SECOND_NS);
    gate.set_user(1, SECOND_NS);
    gate
}

fn delivers(gate: &mut Gate, rules: &GateRules, now_ns: u64) -> bool {
    gate.judge(rules, world::ACT, 10, now_ns) == Verdict::Deliver
}

#[test]
fn what_came_at_its_rate_while_a_client_was_held_is_all_delivered() {
    let rules = rules_of_twenty_a_second();
    let mut gate = player(&rules);
    gate.hold(true, SECOND_NS);
    let late_ns = 5 * SECOND_NS;
    gate.hold(false, late_ns);
    assert!((0..80).all(|_| delivers(&mut gate, &rules, late_ns)));
    assert!(!gate.is_held());
    gate.caught_up();
    assert!((0..40).all(|_| delivers(&mut gate, &rules, late_ns)));
    assert!(!delivers(&mut gate, &rules, late_ns), "the burst, once");
    // Nor is the time of one hold of use long after it.
    let later_ns = 100 * SECOND_NS;
    assert!((0..40).all(|_| delivers(&mut gate, &rules, later_ns)));
    assert!(!delivers(&mut gate, &rules, later_ns));
}

fn send(outbox: &mut Outbox, most: usize, sent: &mut Vec<u8>) {
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let used = outbox.slices(&mut slices);
    let flat: Vec<u8> = slices[..used]
        .iter()
        .flat_map(|slice| slice.iter().copied())
        .collect();
    let bytes = flat.len().min(most);
    sent.extend_from_slice(&flat[..bytes]);
    outbox.sent(bytes);
}
