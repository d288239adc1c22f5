//! What the client leaves out when it connects: TCP_NODELAY, without which a call that stands alone waits some 40 ms.
//!
//! Law: sockets are only ever told to send at once, which ours want wherever they lead; a failure costs time and nothing else.
//! Called by `link` for each new connection. Goes when the client sets it itself (merged after 1.2.0).

use std::os::fd::{BorrowedFd, RawFd};

use rustix::net::sockopt::{set_tcp_nodelay, socket_type};
use rustix::net::{SocketType, getpeername};

/// Tells every connected TCP socket of this program to send at once. Nobody hands out the client's own.
pub(super) fn everywhere() {
    let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") else { return };
    for number in descriptors.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        at_once(number);
    }
}

fn at_once(number: RawFd) {
    #[expect(unsafe_code, reason = "the client's sockets are known by number only")]
    // SAFETY: it is used for calls on sockets alone, which answer with an error when it was closed meanwhile or is another's.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    let is_stream = socket_type(descriptor).is_ok_and(|kind| kind == SocketType::STREAM);
    if is_stream
        && getpeername(descriptor).is_ok()
        && let Err(error) = set_tcp_nodelay(descriptor, true)
    {
        tracing::trace!(%error, "a stream of another kind");
    }
}
