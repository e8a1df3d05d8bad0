//! placeholder
use crate::conn::net::Net;
use crate::error::CoreError;
use crate::ids::ConnId;
use std::rc::Rc;
/// d
pub struct Datagrams {
    _net: Rc<Net>,
}
impl Datagrams {
    /// b
    pub async fn bind(_net: Rc<Net>) -> Result<Option<Rc<Self>>, CoreError> {
        Ok(None)
    }
    /// p
    pub fn port(&self) -> std::io::Result<u16> {
        Ok(0)
    }
    /// r
    pub async fn receive(self: Rc<Self>) {}
    /// a
    pub fn add(&self, _id: ConnId, _room: u32, _number: u64, _key: [u8; 16]) {}
    /// s
    pub fn send(&self, _ids: &[ConnId], _opcode: u16, _body: &[u8]) {}
}
