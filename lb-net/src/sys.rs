//! The system calls that tokio and std do not offer, each as one small function.

use std::io;
#[cfg(feature = "http")]
use std::io::IoSlice;
use std::net::{SocketAddr, TcpListener, TcpStream};
#[cfg(feature = "http")]
use std::os::fd::AsRawFd as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::io::{Errno, FdFlags};
use rustix::net::{RecvFlags, SendFlags, SocketFlags, sockopt};
#[cfg(feature = "http")]
use rustix::net::{SendAncillaryBuffer, Shutdown};
use rustix::pipe::{PipeFlags, SpliceFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
#[cfg(any(feature = "tcp", feature = "http"))]
use socket2::{SockFilter, SockRef};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub use crate::keepalive::{Keepalive, KeepaliveError};

/// Raises the soft limit on descriptors to the hard one, and returns what it is now (`None`: without limit).
///
/// A session costs two descriptors, and the usual soft limit of 1024 is there for programs that use `select`.
///
/// ```
/// let limit = lb_net::sys::raise_descriptor_limit()?;
/// assert!(limit.is_none_or(|descriptors| descriptors > 0));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// What `setrlimit` said; the limit is then as it was.
pub fn raise_descriptor_limit() -> io::Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(limit.maximum)
}

/// How many descriptors this process may have (the soft limit; `None`: without limit).
#[cfg(any(feature = "tcp", feature = "http"))]
pub(crate) fn descriptor_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Removes variables from this process's environment, so that no child inherits them; says whether it could.
///
/// Only while the process has a single thread, so first thing in `main`: another thread might read the environment
/// meanwhile. Where that cannot be seen, for want of `/proc`, nothing is removed.
///
/// ```
/// // A doctest has threads besides this one, or none: what it says is what it did.
/// let removed = lb_net::sys::forget_variables(&["PATH"]);
/// assert_eq!(removed, std::env::var_os("PATH").is_none());
/// ```
#[must_use]
#[allow(unsafe_code, reason = "no safe interface exists: std cannot know that there are no other threads")]
pub fn forget_variables(names: &[&str]) -> bool {
    let is_alone = std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    if is_alone {
        for name in names {
            // SAFETY: only another thread could read or write the environment at the same time. This is the only one,
            // and a new one could be started by this one only.
            unsafe { std::env::remove_var(name) };
        }
    }
    is_alone
}

/// Keeps what this process has inherited, besides stdin, stdout and stderr, from the programs that it starts from now on:
/// a pipe that somebody waits for the end of, say.
///
/// ```
/// lb_net::sys::close_descriptors_on_exec()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// What the system said, for want of `/proc` say.
#[allow(unsafe_code, reason = "nothing but their numbers is known of inherited descriptors")]
pub fn close_descriptors_on_exec() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse().ok()).filter(|fd| *fd > 2) else {
            continue;
        };
        // SAFETY: it was open a moment ago, and is borrowed for this call only. If another thread has closed it since,
        // the call fails; if it has opened something else under its number, that has the flag already, as std sets it.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        match rustix::io::fcntl_setfd(descriptor, FdFlags::CLOEXEC) {
            Ok(()) | Err(Errno::BADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Gives the pages of the program's own code back to the system, of which those in use come back by themselves: to be
/// called once, when what only a start needs is over. Of `lb` that is more than half.
///
/// ```
/// lb_net::sys::give_back_code();
/// ```
#[allow(unsafe_code, reason = "nobody but the linker knows where code begins and ends")]
pub fn give_back_code() {
    #[cfg(target_os = "linux")]
    {
        unsafe extern "C" {
            static __executable_start: u8;
            static etext: u8;
        }
        let (start, end) = (&raw const __executable_start, &raw const etext);
        let page = rustix::param::page_size();
        let length = (end.addr() / page * page).saturating_sub(start.addr());
        // SAFETY: the linker puts nothing between the two but headers, constants and code, which are mapped from the
        // program's file and never written to: whoever needs a page of them gets the same one from the file again.
        let _ = unsafe { rustix::mm::madvise(start.cast_mut().cast(), length, rustix::mm::Advice::LinuxDontNeed) };
    }
}

/// Is this about descriptors or kernel memory having run out: something that passes when sessions end?
///
/// ```
/// # use std::io;
/// assert!(lb_net::sys::ran_out(&io::Error::from_raw_os_error(24))); // EMFILE
/// assert!(!lb_net::sys::ran_out(&io::ErrorKind::ConnectionRefused.into()));
/// ```
#[must_use]
pub fn ran_out(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::NOSPC))
}

/// Sets what every session's sockets have: small messages leave at once (`TCP_NODELAY`), and a peer that vanished is
/// noticed in the end (`SO_KEEPALIVE`). On a listener, accepted sockets inherit both.
///
/// # Errors
/// What `setsockopt` said.
pub fn set_session_options(socket: impl AsFd) -> io::Result<()> {
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    Ok(())
}

/// Lets the last acknowledgement of a handshake wait for the first bytes and go out with them: a packet less for each
/// connection. For a socket that is not connected yet; [`acknowledge`] sends it when nothing is to be said yet.
///
/// # Errors
/// What `setsockopt` said.
pub(crate) fn delay_acknowledgement(socket: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_tcp_quickack(socket, false)?)
}

/// Sends an acknowledgement that has been waiting (`TCP_QUICKACK`): a server that speaks first is to hear of us now.
///
/// # Errors
/// What `setsockopt` said.
pub(crate) fn acknowledge(socket: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_tcp_quickack(socket, true)?)
}

/// Makes closing this socket send a reset instead of an orderly end (`SO_LINGER` with 0).
///
/// # Errors
/// What `setsockopt` said.
pub fn set_reset_on_close(socket: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(socket, Some(Duration::ZERO))?)
}

/// Has the current runtime tell when the accept queue is not empty.
///
/// Not tokio's own listener: that registers each client with the reactor at once, even one that can be answered first.
pub(crate) fn watch(listener: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    // SAFETY: a `TcpListener` owns its descriptor, keeps it open until it is dropped and always returns the same one;
    // the `AsyncFd` owns the listener, and this crate only ever borrows it from there.
    #[allow(unsafe_code)]
    let watched = unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) };
    Ok(watched?)
}

/// Takes one connection from the accept queue, non-blocking and closed on exec.
pub(crate) fn accept(listener: impl AsFd) -> io::Result<(TcpStream, SocketAddr)> {
    let (socket, peer) = rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    // The kernel gives no address when the client is gone already: as good as a connection that was aborted.
    let peer = peer.and_then(|any| SocketAddr::try_from(any).ok()).ok_or(Errno::CONNABORTED)?;
    Ok((TcpStream::from(socket), peer))
}

/// Reads what is there without waiting, whatever the reactor knows of this socket.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, buffer, RecvFlags::DONTWAIT)?.0)
}

/// Reads what is there without waiting, and leaves it there.
#[cfg(any(feature = "http", all(feature = "tcp", feature = "proxy-protocol")))]
pub(crate) fn peek(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, buffer, RecvFlags::DONTWAIT | RecvFlags::PEEK)?.0)
}

/// Writes what fits without waiting, whatever the reactor knows of this socket.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
}

/// As [`send`], of several slices in one call.
#[cfg(feature = "http")]
pub(crate) fn send_slices(socket: impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    Ok(rustix::net::sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags)?)
}

/// Tells the peer that nothing more comes.
#[cfg(feature = "http")]
pub(crate) fn shutdown_write(socket: impl AsFd) -> io::Result<()> {
    Ok(rustix::net::shutdown(socket, Shutdown::Write)?)
}

/// Has a listener hand out connections whose first bytes are there, for as long as `most`: then without them
/// (`TCP_DEFER_ACCEPT`); or at once, with 0. For protocols in which the client speaks first.
#[cfg(feature = "http")]
#[allow(unsafe_code, reason = "neither std nor rustix nor socket2 has this option")]
pub(crate) fn defer_accept(listener: impl AsFd, most: Duration) -> io::Result<()> {
    let seconds = libc::c_int::try_from(most.as_secs()).unwrap_or(libc::c_int::MAX);
    let (value, length) = ((&raw const seconds).cast(), size_of::<libc::c_int>() as libc::socklen_t);
    let listener = listener.as_fd().as_raw_fd();
    // SAFETY: the descriptor is borrowed for the call, and the kernel reads `length` bytes at `value`, which are those of
    // `seconds`.
    let outcome = unsafe { libc::setsockopt(listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, value, length) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has a listener ignore clients that have not begun to connect, while those that have go on: closed afterwards, it cuts
/// off nobody. They ask again after a second, of whoever listens then.
#[cfg(any(feature = "tcp", feature = "http"))]
pub(crate) fn ignore_new(listener: impl AsFd) -> io::Result<()> {
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    // Where a TCP header has its flags, and the one for a begin.
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    let ignore_begins = [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    SockRef::from(&listener).attach_filter(&ignore_begins)
}

/// A non-blocking pipe, `(read end, write end)`, that holds `bytes`, or a quarter of it where the user has many pipes.
pub(crate) fn pipe(bytes: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let resize = |bytes| rustix::pipe::fcntl_setpipe_size(&writer, bytes);
    // A user who is over the limit gets pipes of one page or two: copying is better than those.
    resize(bytes).or_else(|_| resize(bytes / 4))?;
    Ok((reader, writer))
}

/// Moves up to `bytes` between a pipe and a socket inside the kernel. 0 is the end of the source.
pub(crate) fn splice(from: impl AsFd, to: impl AsFd, bytes: u32) -> io::Result<u32> {
    let moved = rustix::pipe::splice(from, None, to, None, bytes as usize, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?;
    // Never more than was asked for.
    Ok(u32::try_from(moved).unwrap_or(bytes))
}

/// Is it us who lack something to connect with: descriptors, memory, or a local port?
#[cfg(any(feature = "tcp", feature = "http", feature = "probe"))]
pub(crate) fn lacks_means(error: &io::Error) -> bool {
    ran_out(error) || matches!(Errno::from_io_error(error), Some(Errno::ADDRNOTAVAIL | Errno::AGAIN))
}

/// Is the connect only not finished yet?
pub(crate) fn is_under_way(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INPROGRESS | Errno::INTR))
}

/// May the kernel give this port to a connection of ours? Then a connect to a local port where nobody listens can meet
/// itself.
pub(crate) fn is_ephemeral(port: u16) -> bool {
    static RANGE: OnceLock<(u16, u16)> = OnceLock::new();
    let (first, last) = *RANGE.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        let mut ports = text.split_whitespace().map_while(|word| word.parse().ok());
        ports.next().zip(ports.next()).unwrap_or((1024, u16::MAX))
    });
    (first..=last).contains(&port)
}
