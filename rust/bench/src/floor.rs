//! The physical floor: what a byte costs when a server does nothing but echo it.
//!
//! Owns one thread, one epoll set, one read buffer: `recv`, `send`, no framing, no limits, nothing
//! allocated a message. With `--answer-bytes` it answers every frame with one of that length
//! instead: the physical limit of handing out bytes. Never a server for anything else. Started by
//! the benches beside the core.

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::failure::Failure;
use crate::frame::{self, HEADER_BYTES};
use crate::options::Options;

const READ_BYTES: usize = 65_536;
const EVENTS: usize = 1_024;
const LISTENER: u64 = u64::MAX;

/// Serves until the process is ended. Prints one line `{"port", "pid"}` when it listens.
pub fn run(options: &Options) -> Result<(), Failure> {
    options.only(&["port", "answer-bytes", "answer-opcode"])?;
    let mut answer = read_answer(options)?;
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
            let ended = place.as_mut().is_some_and(|stream| match &mut answer {
                None => echo(stream, &mut buffer).is_err(),
                Some(frame) => answer_all(stream, &mut buffer, frame).is_err(),
            });
            if ended {
                // Closing the descriptor takes it out of the epoll set.
                *place = None;
            }
        }
    }
}

/// The frame that answers every request; its seq is patched.
fn read_answer(options: &Options) -> Result<Option<Vec<u8>>, Failure> {
    let Some(bytes) = options.number::<usize>("answer-bytes")? else {
        return Ok(None);
    };
    let short = || Failure::Usage("--answer-bytes counts the 10-byte header".to_owned());
    let body = vec![b'.'; bytes.checked_sub(HEADER_BYTES).ok_or_else(short)?];
    let mut frame = Vec::new();
    frame::write(
        &mut frame,
        options.required_number("answer-opcode")?,
        0,
        &body,
    )?;
    Ok(Some(frame))
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

/// One read; every frame in it is answered. Requests are a few bytes, so one is never cut in two.
fn answer_all(stream: &mut TcpStream, buffer: &mut [u8], frame: &mut [u8]) -> std::io::Result<()> {
    let length = match stream.read(buffer) {
        Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
        Ok(length) => length,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut at = 0;
    while let Some(header) = frame::header(&buffer[at..length]) {
        frame[6..HEADER_BYTES].copy_from_slice(&header.seq.to_le_bytes());
        write_whole(stream, frame)?;
        at += header.frame_bytes;
    }
    Ok(())
}

fn write_whole(stream: &mut TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            // The reader is behind: let it run.
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
