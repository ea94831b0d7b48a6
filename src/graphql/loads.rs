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
        // Woken meanwhile, it goes on first, and may add to the batches. Whoever woke it may have a waker of an earlier poll,
        // which wakes where the operation was then: it may have been sent to the background since.
        if is_woken.load(Ordering::Acquire) {
            context.waker().wake_by_ref();
        } else {
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

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::atomic::AtomicUsize};

    use super::*;

    #[derive(Default)]
    struct Calls(AtomicUsize);

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// As an operation does that is sent to the background: polled by one task, then by another.
    #[test]
    fn what_wakes_it_where_it_was_before_does_not_leave_it_waiting() {
        let loads = Loads::default();
        let (mut kept, mut polls, batches) = (None::<Waker>, 0, loads.clone());
        let done = Arc::new(AtomicBool::new(false));
        let has_loaded = done.clone();
        let operation = poll_fn(move |context| {
            polls += 1;
            match polls {
                1 => kept = Some(context.waker().clone()),
                2 => {
                    let done = done.clone();
                    let batch = async move { done.store(true, Ordering::SeqCst) };
                    batches.spawn_obj(FutureObj::new(Box::new(batch))).expect("it takes any");
                    // Something that the first poll has waited for is there.
                    kept.take().expect("a first poll").wake();
                }
                _ => {}
            }
            if done.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        });
        let mut driven = Box::pin(loads.drive(operation));
        let (before, after) = (Arc::new(Calls::default()), Arc::new(Calls::default()));
        let mut poll = |task: &Arc<Calls>| driven.as_mut().poll(&mut Context::from_waker(&Waker::from(task.clone())));
        assert!(poll(&before).is_pending());
        assert!(poll(&after).is_pending());
        assert_eq!(after.0.load(Ordering::SeqCst), 1, "the task that polls it now is woken");
        // It goes on as often as it is woken, and no oftener.
        let mut polls = 1;
        while polls <= after.0.load(Ordering::SeqCst) && poll(&after).is_pending() {
            polls += 1;
        }
        assert!(has_loaded.load(Ordering::SeqCst), "its batch was loaded");
    }
}
