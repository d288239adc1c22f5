//! A connection's bytes, with two rules of its own: a client that takes no byte for too long is cut off, and a connection
//! that we end lingers a moment, so that the answer reaches a client that is still sending.
//!
//! Law: no wait in here lasts longer than its limit. Called by [`super::server`], read and written by hyper.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// How long a connection that we end may go on sending into the void. Without it the kernel answers its bytes with a
/// reset, which can overtake our answer (RFC 9112, 9.6).
const LINGER: Duration = Duration::from_secs(1);
/// How many bytes it may send meanwhile.
const LINGER_BYTES_MAX: usize = 4 << 20;

/// A TCP connection whose writes must get on.
pub(super) struct Socket {
    tcp: TcpStream,
    /// Runs while a write waits for the client.
    stall: Option<Pin<Box<Sleep>>>,
    write_timeout: Duration,
    /// Once our side is shut: until when we linger, and how many bytes were thrown away.
    linger: Option<(Pin<Box<Sleep>>, usize)>,
}

impl Socket {
    /// Guards a connection.
    pub(super) fn new(tcp: TcpStream, write_timeout: Duration) -> Self {
        Self { tcp, stall: None, write_timeout, linger: None }
    }

    /// Looks at the clock when a write waits, and forgets it when one gets on.
    fn progress<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stall = None;
            return outcome;
        }
        let limit = self.write_timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(stall.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes no bytes")))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(context, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.tcp).poll_write(context, bytes);
        self.progress(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.tcp).poll_write_vectored(context, slices);
        self.progress(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.tcp).poll_shutdown(context))?;
        }
        let (end, thrown_away) = this
            .linger
            .get_or_insert_with(|| (Box::pin(tokio::time::sleep_until(Instant::now() + LINGER)), 0));
        let mut scratch = [0; 4096];
        loop {
            if *thrown_away > LINGER_BYTES_MAX || end.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut this.tcp).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => *thrown_away += buffer.filled().len(),
                // The client has ended too, or is gone: nothing to wait for.
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
