//! `NetCore`, the class that Python holds.
//!
//! Owns nothing but a [`Server`]. Every method runs on the thread of its caller and returns at
//! once, except `start` and `finish_shutdown`, which let the interpreter go while they wait.

use std::collections::BTreeMap;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::bridge::convert::{self, EventTuples, MessageReader};
use crate::error::CloseReason;
use crate::ids::ConnId;
use crate::server::Server;

/// All sockets of one node. Documented in `_core.pyi`.
#[pyclass(frozen, module = "mmo._core")]
pub struct NetCore {
    server: Server,
}

#[pymethods]
impl NetCore {
    #[new]
    fn new(settings: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self {
            server: Server::new(convert::settings(settings)?)?,
        })
    }

    fn start(&self, py: Python<'_>) -> PyResult<BTreeMap<&'static str, u16>> {
        let ports = py.detach(|| self.server.start())?;
        let named = [
            ("client", ports.client),
            ("link", ports.link),
            ("datagram", ports.datagram),
        ];
        Ok(named
            .into_iter()
            .filter_map(|(name, port)| Some((name, port?)))
            .collect())
    }

    fn fileno(&self) -> i32 {
        self.server.descriptor()
    }

    fn pump(&self, on_batch: &Bound<'_, PyAny>, limit: usize) -> PyResult<usize> {
        let py = on_batch.py();
        let mut tuples = EventTuples::new(py);
        let mut batch = Vec::with_capacity(limit.min(self.server.waiting()));
        let mut failure = None;
        let taken = self.server.pump(limit, |event| match tuples.make(event) {
            Ok(tuple) => {
                batch.push(tuple);
                true
            }
            Err(error) => {
                failure = Some(error);
                false
            }
        })?;
        if !batch.is_empty() {
            on_batch.call1((PyList::new(py, batch)?,))?;
        }
        match failure {
            None => Ok(taken),
            Some(error) => Err(error),
        }
    }

    fn send_many(&self, messages: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
        let messages = convert::as_list(messages)?;
        let mut outbound = self.server.outbound()?;
        let mut reader = MessageReader::default();
        let mut failure = None;
        for item in messages.iter() {
            match reader.read(&item) {
                Ok(message) => {
                    let id = ConnId::from_i64(message.conn);
                    outbound.push(id, message.opcode, message.seq, message.body.as_bytes());
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        let refused = outbound.finish();
        match failure {
            None => Ok(refused.into_iter().map(ConnId::as_i64).collect()),
            Some(error) => Err(error),
        }
    }

    #[pyo3(signature = (conns, opcode, body, lossy = false))]
    fn fanout(
        &self,
        conns: &Bound<'_, PyAny>,
        opcode: u16,
        body: &Bound<'_, PyBytes>,
        lossy: bool,
    ) -> PyResult<usize> {
        let ids = convert::ids(conns)?;
        Ok(self
            .server
            .fanout(ids.into_iter(), opcode, body.as_bytes(), lossy)?)
    }

    fn close(&self, conn: i64, reason: i64) -> PyResult<()> {
        let reason = CloseReason::from_number(reason)
            .ok_or_else(|| PyValueError::new_err(format!("{reason} is no close reason")))?;
        Ok(self.server.close(ConnId::from_i64(conn), reason)?)
    }

    fn set_user(&self, conn: i64, user: i64) -> PyResult<()> {
        if user < 0 {
            return Err(PyValueError::new_err("a user id is not negative"));
        }
        Ok(self.server.set_user(ConnId::from_i64(conn), user)?)
    }

    fn dial(&self, peer: u16, address: &str) -> PyResult<()> {
        Ok(self.server.dial(peer, address)?)
    }

    fn undial(&self, peer: u16) -> PyResult<()> {
        Ok(self.server.undial(peer)?)
    }

    fn datagram_key<'py>(
        &self,
        py: Python<'py>,
        conn: i64,
        room: u32,
    ) -> PyResult<(i64, Bound<'py, PyBytes>)> {
        let (number, key) = self.server.datagram_key(ConnId::from_i64(conn), room)?;
        Ok((number, PyBytes::new(py, &key)))
    }

    fn stats(&self) -> BTreeMap<&'static str, u64> {
        self.server.stats()
    }

    fn take_records(&self, limit: usize) -> Vec<(i64, i64, String)> {
        let records = std::iter::from_fn(|| self.server.take_record());
        records
            .take(limit)
            .map(|record| (record.unix_ms, record.conn, record.text))
            .collect()
    }

    fn begin_shutdown(&self, grace_ms: u64) -> PyResult<()> {
        Ok(self.server.begin_shutdown(grace_ms)?)
    }

    fn finish_shutdown(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.server.finish_shutdown())?)
    }
}

impl Drop for NetCore {
    /// Nobody else's Python waits while the network thread is joined.
    fn drop(&mut self) {
        let server = &self.server;
        // Where there is no interpreter any more, `Server` joins by itself.
        let _ = Python::try_attach(|py| py.detach(|| server.finish_shutdown()));
    }
}
