//! The network thread: binds, runs the runtime, carries out rare orders, stops.
//!
//! Owns the order of starting and stopping. Never touches Python. Called by [`super::Server`].

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;

use crate::config::Settings;
use crate::conn::crossing::Crossing;
use crate::conn::net::Net;
use crate::datagram::Datagrams;
use crate::error::CoreError;
use crate::listener::{self, bind};
use crate::peer::Links;
use crate::pool::SlotPool;
use crate::registry::Order;
use crate::server::Ports;

/// Starts the thread; gives the bound ports when it serves.
pub(super) fn start(
    settings: Settings,
    crossing: Arc<Crossing>,
    bodies: SlotPool,
) -> Result<(Ports, JoinHandle<()>), CoreError> {
    let tls = listener::tls(&settings)?;
    let (ready_tx, ready_rx) = mpsc::channel();
    let spawn = std::thread::Builder::new().name("mmo-network".to_owned());
    let thread = spawn
        .spawn(move || run(settings, crossing, bodies, tls, &ready_tx))
        .map_err(|source| CoreError::System {
            what: "network thread",
            source,
        })?;
    let Ok(ready) = ready_rx.recv() else {
        return Err(CoreError::NotRunning);
    };
    match ready {
        Ok(ports) => Ok((ports, thread)),
        Err(error) => {
            let _ = thread.join();
            Err(error)
        }
    }
}

fn run(
    settings: Settings,
    crossing: Arc<Crossing>,
    bodies: SlotPool,
    tls: Option<TlsAcceptor>,
    ready: &mpsc::Sender<Result<Ports, CoreError>>,
) {
    let parking = Arc::clone(&crossing);
    let unparking = Arc::clone(&crossing);
    let runtime = Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || parking.parking())
        .on_thread_unpark(move || unparking.network.awake())
        .build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(source) => {
            let _ = ready.send(Err(CoreError::System {
                what: "runtime",
                source,
            }));
            return;
        }
    };
    let result = runtime.block_on(serve(settings, crossing, bodies, tls, ready));
    if let Err(error) = result {
        let _ = ready.send(Err(error));
    }
    end(runtime);
}

/// Drops every task of `runtime`, but does not wait for a name server that one of them asked.
fn end(runtime: LocalRuntime) {
    runtime.shutdown_background();
}

async fn serve(
    settings: Settings,
    crossing: Arc<Crossing>,
    bodies: SlotPool,
    tls: Option<TlsAcceptor>,
    ready: &mpsc::Sender<Result<Ports, CoreError>>,
) -> Result<(), CoreError> {
    let net = Rc::new(Net::new(settings, crossing, bodies)?);
    let settings = &net.settings;
    let mut ports = Ports::default();
    let mut accepting = Vec::new();
    let system = |source| CoreError::System {
        what: "bound address",
        source,
    };
    if let Ok(port) = u16::try_from(settings.client_port) {
        let listener = bind(&settings.host, port, settings.accept_backlog)?;
        ports.client = Some(listener.local_addr().map_err(system)?.port());
        accepting.push(spawn_local(listener::accept(
            Rc::clone(&net),
            listener,
            tls,
        )));
    }
    let links = Links::new(Rc::clone(&net));
    if let Ok(port) = u16::try_from(settings.link_port) {
        let listener = bind(&settings.link_host, port, settings.accept_backlog)?;
        ports.link = Some(listener.local_addr().map_err(system)?.port());
        accepting.push(spawn_local(Rc::clone(&links).accept(listener)));
    }
    let datagrams = Datagrams::bind(Rc::clone(&net)).await?;
    if let Some(datagrams) = &datagrams {
        ports.datagram = Some(datagrams.port().map_err(system)?);
        accepting.push(spawn_local(Rc::clone(datagrams).receive()));
    }
    let passes = spawn_local(take_mail(Rc::clone(&net)));
    let sweeps = spawn_local(sweep(Rc::clone(&net)));
    // The receiver waits for exactly this and cannot be gone.
    let _ = ready.send(Ok(ports));
    let grace_ms = carry_out(&net, &links, datagrams.as_deref()).await;
    for task in accepting {
        task.abort();
        // Ports are free for a successor by the time that STOPPED is told.
        let _ = task.await;
    }
    drop(datagrams);
    links.stop();
    stop(&net, grace_ms).await;
    passes.abort();
    sweeps.abort();
    net.tell_stopped();
    see_off(&net, grace_ms).await;
    Ok(())
}

/// The task that the other thread wakes: one pass each time.
async fn take_mail(net: Rc<Net>) {
    poll_fn(|context| {
        net.crossing.network.signal().set(context.waker());
        net.pass();
        Poll::Pending
    })
    .await
}

async fn sweep(net: Rc<Net>) {
    let settings = &net.settings;
    let shortest_ms = [
        settings.prove_ms,
        settings.open_ms,
        settings.frame_ms,
        settings.idle_ms,
        settings.close_flush_ms,
        settings.heartbeat_ms,
    ];
    let shortest_ms = shortest_ms.into_iter().min().unwrap_or(SWEEP_MS_MAX);
    let tick = Duration::from_millis((shortest_ms / 4).clamp(SWEEP_MS_MIN, SWEEP_MS_MAX));
    let mut ticks = tokio::time::interval(tick);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        net.sweep();
        net.pass();
    }
}

/// Carries out rare orders until the one to stop; gives its grace time.
async fn carry_out(net: &Rc<Net>, links: &Rc<Links>, datagrams: Option<&Datagrams>) -> u64 {
    loop {
        match net.next_order().await {
            Order::Dial(peer, address) => links.dial(peer, address),
            Order::Undial(peer) => links.undial(peer),
            Order::DatagramKey(id, room, number, key) => {
                if let Some(datagrams) = datagrams {
                    datagrams.add(id, room, number, key);
                }
            }
            Order::Lossy(ids, opcode, body) => {
                if let Some(datagrams) = datagrams {
                    datagrams.send(&ids, opcode, &body);
                }
            }
            Order::Stop(grace_ms) => return grace_ms,
        }
    }
}

/// Closes every connection, flushing for at most `grace_ms`.
async fn stop(net: &Net, grace_ms: u64) {
    net.begin_stop(grace_ms);
    let grace = Duration::from_millis(grace_ms);
    let all_gone = until_none(net, Net::live);
    if tokio::time::timeout(grace, all_gone).await.is_err() {
        net.break_off_all();
        until_none(net, Net::live).await;
    }
}

/// Waits for peers to close after they were told. The system may still hold the last words to
/// them, and forgets those when it has to answer a peer's own for a socket that is gone. Not for
/// long: whoever waits for the end of the process waits for this too.
async fn see_off(net: &Net, grace_ms: u64) {
    let longest_ms = net.settings.close_flush_ms.min(SEE_OFF_MS_MAX);
    let longest = Duration::from_millis(grace_ms.min(longest_ms));
    // Whoever did not close by now is cut off.
    let _ = tokio::time::timeout(longest, until_none(net, Net::lingering)).await;
}

/// Waits until `count` of connections is 0.
async fn until_none(net: &Net, count: impl Fn(&Net) -> usize) {
    loop {
        let freed = net.freed.notified();
        if count(net) == 0 {
            return;
        }
        freed.await;
    }
}

const SWEEP_MS_MIN: u64 = 5;
const SWEEP_MS_MAX: u64 = 100;
const SEE_OFF_MS_MAX: u64 = 1_000;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn name_server_that_does_not_answer_delays_no_end() {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.build_local(LocalOptions::default()).unwrap();
        let (answer, answered) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        runtime.spawn_blocking(move || {
            begin.send(()).unwrap();
            answered.recv_timeout(Duration::from_secs(30))
        });
        begun.recv().unwrap();
        let held = Rc::new(());
        let task = Rc::clone(&held);
        runtime.block_on(async {
            spawn_local(async move {
                std::future::pending::<()>().await;
                drop(task);
            });
            tokio::task::yield_now().await;
        });
        assert_eq!(Rc::strong_count(&held), 2);
        let ended = Instant::now();
        end(runtime);
        assert!(ended.elapsed() < Duration::from_secs(10));
        assert_eq!(Rc::strong_count(&held), 1, "tasks are gone all the same");
        drop(answer);
    }
}
