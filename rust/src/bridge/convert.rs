//! Between Python objects and plain Rust values.
//!
//! Owns the shapes that cross: settings in, events out, messages in. Keeps no object beyond a
//! call. Called by `core`.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList, PyTuple};

use crate::bridge::error::CoreError;
use crate::config::Settings;
use crate::ids::ConnId;
use crate::queue::Event;

/// Reads all fields of a settings object by attribute.
pub(super) fn settings(object: &Bound<'_, PyAny>) -> PyResult<Settings> {
    macro_rules! read {
        ($($field:ident)*) => { Settings { $($field: field(object, stringify!($field))?,)* } };
    }
    Ok(read! {
        server_number role incarnation host client_port datagram_port link_host link_port
        tls_certificate_file tls_key_file
        connections_max connections_unproved_max connections_per_address_max
        connects_per_address_per_s_max connects_per_address_burst_max links_max accept_backlog
        frame_bytes_max frame_unproved_bytes_max link_frame_bytes_max ring_bytes rings_max
        body_slot_bytes body_slots_max inbound_events_max inbound_high_water inbound_low_water
        outbox_bytes_max link_outbox_bytes_max
        prove_ms open_ms frame_ms idle_ms close_flush_ms heartbeat_ms heartbeat_lost_ms
        redial_ms_min redial_ms_max dial_ms
        rate_classes bytes_per_s_max bytes_burst_max
        client_opcodes core_echo_opcodes link_opcodes
        token_keys token_issuer token_audiences token_types token_leeway_s token_bytes_max
        link_secret datagram_proof_ms datagram_bytes_max log_records_per_s
    })
}

fn field<'py, T>(object: &Bound<'py, PyAny>, name: &'static str) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py>,
{
    let wrong = |error: PyErr| CoreError::new_err(format!("setting {name}: {error}"));
    let value = object.getattr(name).map_err(wrong)?;
    value
        .extract()
        .map_err(|error: T::Error| wrong(error.into()))
}

/// Makes event tuples, reusing the number objects of the event before: messages of one
/// connection come in runs.
pub(super) struct EventTuples<'py> {
    py: Python<'py>,
    conn: Kept<'py>,
    user: Kept<'py>,
    opcode: Kept<'py>,
}

impl<'py> EventTuples<'py> {
    pub(super) fn new(py: Python<'py>) -> Self {
        let kept = || Kept {
            number: 0,
            object: PyInt::new(py, 0),
        };
        Self {
            py,
            conn: kept(),
            user: kept(),
            opcode: kept(),
        }
    }

    #[inline]
    pub(super) fn make(&mut self, event: &Event) -> PyResult<Bound<'py, PyTuple>> {
        let py = self.py;
        let seq = PyInt::new(py, i64::from(event.seq)).into_any();
        let body = PyBytes::new(py, event.body.as_slice()).into_any();
        let conn = self.conn.get(py, event.conn);
        let user = self.user.get(py, event.user);
        let opcode = self.opcode.get(py, i64::from(event.opcode));
        (conn, user, opcode, seq, body).into_pyobject(py)
    }
}

struct Kept<'py> {
    number: i64,
    object: Bound<'py, PyInt>,
}

impl<'py> Kept<'py> {
    #[inline]
    fn get(&mut self, py: Python<'py>, number: i64) -> Bound<'py, PyAny> {
        if self.number != number {
            self.number = number;
            self.object = PyInt::new(py, number);
        }
        self.object.as_any().clone()
    }
}

/// Reads messages `(conn, opcode, seq, body)`, converting a number object once while the same
/// object comes again: answers of one connection come in runs, and opcodes are constants. The
/// caller keeps all messages alive meanwhile, so an address stands for one object.
#[derive(Default)]
pub(super) struct MessageReader {
    conn: (usize, i64),
    opcode: (usize, u16),
}

/// One message of `send_many`.
pub(super) struct Message<'a, 'py> {
    pub(super) conn: i64,
    pub(super) opcode: u16,
    pub(super) seq: u32,
    pub(super) body: Borrowed<'a, 'py, PyBytes>,
}

impl MessageReader {
    /// Reads one.
    #[inline]
    pub(super) fn read<'a, 'py>(
        &mut self,
        item: &'a Bound<'py, PyAny>,
    ) -> PyResult<Message<'a, 'py>> {
        let tuple = item.cast::<PyTuple>()?;
        let conn = tuple.get_borrowed_item(0)?;
        if conn.as_ptr().addr() != self.conn.0 {
            self.conn = (conn.as_ptr().addr(), number(conn)?);
        }
        let opcode = tuple.get_borrowed_item(1)?;
        if opcode.as_ptr().addr() != self.opcode.0 {
            let number = u16::try_from(number(opcode)?);
            let number = number.map_err(|_| PyTypeError::new_err("opcode is no u16"))?;
            self.opcode = (opcode.as_ptr().addr(), number);
        }
        let seq = u32::try_from(number(tuple.get_borrowed_item(2)?)?);
        let seq = seq.map_err(|_| PyTypeError::new_err("seq is no u32"))?;
        let body = tuple.get_borrowed_item(3)?.cast()?;
        Ok(Message {
            conn: self.conn.1,
            opcode: self.opcode.1,
            seq,
            body,
        })
    }
}

/// An int, and nothing that would have to run Python code to become one.
#[inline]
fn number(object: Borrowed<'_, '_, PyAny>) -> PyResult<i64> {
    object.cast::<PyInt>()?.extract()
}

/// The items of a list, or of any other sequence.
pub(super) fn as_list<'py>(sequence: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
    match sequence.cast::<PyList>() {
        Ok(list) => Ok(list.clone()),
        Err(_) => PyList::new(
            sequence.py(),
            sequence.try_iter()?.collect::<PyResult<Vec<_>>>()?,
        ),
    }
}

/// Connection ids out of a sequence of ints.
pub(super) fn ids(sequence: &Bound<'_, PyAny>) -> PyResult<Vec<ConnId>> {
    let list = as_list(sequence)?;
    list.iter()
        .map(|item| number(item.as_borrowed()).map(ConnId::from_i64))
        .collect()
}
