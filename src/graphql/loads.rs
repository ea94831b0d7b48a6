//! When a request's batches are loaded: by the operation itself, as soon as it has nothing else to go on with. No clock is
//! asked, so whatever can be known by then is in the batch, however slow or busy the machine is; and nothing of it outlives
//! the operation.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use async_graphql::runtime::Timer;
use futures_util::{
    StreamExt as _,
    future::BoxFuture,
    stream::FuturesUnordered,
    task::{FutureObj, Spawn, SpawnError},
};
use tracing::Instrument as _;

use crate::base::trace;

/// Batches of one operation that have been begun by a first key. Whoever runs the operation runs it by [`Loads::drive`].
#[derive(Clone, Default)]
pub struct Loads(Arc<Mutex<Vec<FutureObj<'static, ()>>>>);

impl std::fmt::Debug for Loads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Loads(…)")
    }
}

impl Spawn for Loads {
    fn spawn_obj(&self, load: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        // In a trace, below the field that wanted it first.
        let load = match trace::is_on() {
            true => FutureObj::new(Box::new(load.instrument(tracing::debug_span!("load")))),
            false => load,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(load);
        Ok(())
    }
}

/// A batch is not polled before it is complete; there is nothing to wait for.
#[derive(Debug)]
pub struct AtOnce;

impl Timer for AtOnce {
    fn delay(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl Loads {
    /// Runs an operation with its batches. An operation's state is large, and the thread's stack is not: it is on the heap
    /// before it comes here.
    pub async fn drive<T>(&self, mut operation: impl Future<Output = T> + Unpin) -> T {
        let (mut running, is_woken) = (FuturesUnordered::new(), Arc::new(AtomicBool::new(false)));
        std::future::poll_fn(move |context| self.poll(context, Pin::new(&mut operation), &mut running, &is_woken)).await
    }

    fn poll<T>(
        &self,
        context: &mut Context<'_>,
        operation: Pin<&mut impl Future<Output = T>>,
        running: &mut FuturesUnordered<FutureObj<'static, ()>>,
        is_woken: &Arc<AtomicBool>,
    ) -> Poll<T> {
        is_woken.store(false, Ordering::Release);
        let waker = Waker::from(Arc::new(Woken { is_woken: is_woken.clone(), outer: context.waker().clone() }));
        if let Poll::Ready(done) = operation.poll(&mut Context::from_waker(&waker)) {
            return Poll::Ready(done);
        }
        // Woken meanwhile, it goes on first, and may add to the batches.
        if !is_woken.load(Ordering::Acquire) {
            running.extend(std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)));
        }
        while let Poll::Ready(Some(())) = running.poll_next_unpin(context) {}
        Poll::Pending
    }
}

/// The operation's waker, which leaves word that it was called.
struct Woken {
    is_woken: Arc<AtomicBool>,
    outer: Waker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.outer.wake_by_ref();
    }
}
