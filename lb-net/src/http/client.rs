//! stand-in
use std::{io::{self, IoSlice}, task::{Context, Poll}};
use tokio::net::TcpStream;
use super::wire::Wire;
pub(super) struct ClientSocket { stream: Option<TcpStream> }
pub(super) enum Gone { Reset, Finished }
impl ClientSocket {
    pub(super) fn new(socket: std::net::TcpStream) -> Self { Self { stream: TcpStream::from_std(socket).ok() } }
    pub(super) fn poll_gone(&mut self, _cx: &mut Context<'_>) -> Poll<Gone> { Poll::Pending }
    pub(super) fn into_tokio(self) -> io::Result<TcpStream> { self.stream.ok_or(io::ErrorKind::NotConnected.into()) }
    pub(super) fn shutdown_write(&mut self) -> io::Result<()> { rustix::net::shutdown(self.get()?, rustix::net::Shutdown::Write)?; Ok(()) }
    pub(super) fn reset_on_close(&mut self) { if let Ok(s) = self.get() { let _ = crate::sys::set_reset_on_close(s); } }
    fn get(&mut self) -> io::Result<&mut TcpStream> { self.stream.as_mut().ok_or(io::ErrorKind::NotConnected.into()) }
}
impl Wire for ClientSocket {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> { self.get()?.poll_read(cx, into) }
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> { Wire::poll_write(self.get()?, cx, slices) }
    fn stream(&mut self) -> io::Result<&TcpStream> { self.get().map(|s| &*s) }
}
