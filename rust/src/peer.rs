//! placeholder
use crate::conn::net::Net;
use std::rc::Rc;
/// d
pub struct Links {
    _net: Rc<Net>,
}
impl Links {
    /// n
    pub fn new(net: Rc<Net>) -> Rc<Self> {
        Rc::new(Self { _net: net })
    }
    /// r
    pub async fn accept(self: Rc<Self>, _l: tokio::net::TcpListener) {}
    /// a
    pub fn dial(&self, _peer: u16, _address: String) {}
    /// s
    pub fn undial(&self, _peer: u16) {}
    /// s
    pub fn stop(&self) {}
}
