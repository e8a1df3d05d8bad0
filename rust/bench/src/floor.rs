//! The physical floor: what a byte costs when a server does nothing but echo it.
//!
//! Owns one thread, one epoll set, one read buffer: `recv`, `send`, no framing, no limits, nothing
//! allocated a message. Never a server for anything else. Started by the benches beside the core.

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::failure::Failure;
use crate::options::Options;

const READ_BYTES: usize = 65_536;
const EVENTS: usize = 1_024;
const LISTENER: u64 = u64::MAX;

/// Serves until the process is ended. Prints one line `{"port", "pid"}` when it listens.
pub fn run(options: &Options) -> Result<(), Failure> {
    options.only(&["port"])?;
    let listener = TcpListener::bind(("127.0.0.1", options.required_number::<u16>("port")?))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    println!("{{\"port\":{port},\"pid\":{}}}", std::process::id());

    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    let mut events = [MaybeUninit::<Event>::uninit(); EVENTS];
    let mut buffer = vec![0_u8; READ_BYTES];
    loop {
        let (ready, _) = match epoll::wait(&epoll, &mut events, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        for event in ready {
            let token = event.data.u64();
            if token == LISTENER {
                accept(&listener, &epoll, &mut streams)?;
                continue;
            }
            let Ok(slot) = usize::try_from(token) else {
                continue;
            };
            let Some(place) = streams.get_mut(slot) else {
                continue;
            };
            let ended = place
                .as_mut()
                .is_some_and(|stream| echo(stream, &mut buffer).is_err());
            if ended {
                // Closing the descriptor takes it out of the epoll set.
                *place = None;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &impl rustix::fd::AsFd,
    streams: &mut Vec<Option<TcpStream>>,
) -> Result<(), Failure> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let slot = streams
            .iter()
            .position(Option::is_none)
            .unwrap_or(streams.len());
        epoll::add(
            epoll,
            &stream,
            EventData::new_u64(slot as u64),
            EventFlags::IN,
        )?;
        if slot == streams.len() {
            streams.push(Some(stream));
        } else {
            streams[slot] = Some(stream);
        }
    }
}

/// One read, one write. The generator never has more in flight than a socket buffer holds, so a
/// short write can only mean that the floor is used for something else: the connection ends.
fn echo(stream: &mut TcpStream, buffer: &mut [u8]) -> std::io::Result<()> {
    let length = match stream.read(buffer) {
        Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
        Ok(length) => length,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error),
    };
    stream.write_all(&buffer[..length])
}
