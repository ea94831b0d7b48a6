//! Whoever takes much of the processor gives way to whoever takes little.
//!
//! A thread of the runtime runs an operation until it waits for something, and whoever's turn it would be waits that long.
//! So an operation has a [`Meter`]. Once it has used more than [`LIGHT`] of a processor it goes on in the background: on
//! threads to which the operating system prefers the others (on Linux; elsewhere they are just more threads).
//!
//! What operations use is owed by their caller, ten times, and time pays it. As long as somebody owes more than
//! their credit, and others are there, their operations begin in the background: so one caller has a tenth of a processor that
//! others want, and all of it when nobody does. New documents are on an address's account in the same way, since they come
//! before anybody is known.
//!
//! What SQLite's threads do for an operation is counted, too. In the background other connections are used, whose threads
//! give way as well.
//!
//! Mutations are not sent away: they hold what others wait for.

mod accounts;
mod background;

use std::{
    future::{Future, poll_fn},
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, task::yield_now};
use uuid::Uuid;

use self::{accounts::Accounts, background::Background};
use crate::{
    base::{
        error::Result,
        priority::{self, time_of_thread},
    },
    data::db::Consumer,
    platform::metrics::Metrics,
};

/// Time of a processor that an operation has before it goes to the background. A page of 50 items with all that a board
/// shows takes three milliseconds.
const LIGHT: Duration = Duration::from_millis(15);
/// Bytes of a request's body that are always read in the background.
pub const LARGE_BODY: usize = 128 * 1024;
/// The processors, as operations share them. Clones are the same.
#[derive(Clone, Debug)]
pub struct Processor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    background: Background,
    accounts: Mutex<Accounts>,
    metrics: Metrics,
}

/// What one operation has used, and where it is to run. Clones are the same.
#[derive(Clone, Debug)]
pub struct Meter(Arc<Metered>);

#[derive(Debug)]
struct Metered {
    processor: Processor,
    /// Nanoseconds of a processor.
    used: AtomicU64,
    /// Whose it is: the address's, then the caller's.
    account: Mutex<Uuid>,
    address: Uuid,
    is_heavy: AtomicBool,
    /// It may not go to the background.
    stays: AtomicBool,
    is_away: AtomicBool,
}

impl Processor {
    /// INTERNAL where the threads can't be started.
    pub fn new(metrics: Metrics) -> Result<Self> {
        Ok(Self(Arc::new(Inner { background: Background::new()?, accounts: Mutex::default(), metrics })))
    }

    /// For an operation that comes from this address.
    pub fn meter(&self, ip: Option<IpAddr>) -> Meter {
        let address = Consumer::of_address(ip).caller();
        Meter(Arc::new(Metered {
            processor: self.clone(),
            used: AtomicU64::new(0),
            account: Mutex::new(address),
            address,
            is_heavy: AtomicBool::new(false),
            stays: AtomicBool::new(false),
            is_away: AtomicBool::new(false),
        }))
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.0.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an operation of this account, which comes from this address, is to give way.
    fn gives_way(&self, account: Uuid, address: Uuid) -> bool {
        self.accounts().gives_way(account, address, Instant::now())
    }

    fn charge(&self, account: Uuid, used: Duration) {
        self.accounts().charge(account, used, Instant::now());
    }
}

impl Meter {
    /// From now on it is this caller's.
    pub async fn belongs_to(&self, consumer: Consumer) {
        let account = consumer.caller();
        *self.account() = account;
        if self.0.processor.gives_way(account, self.0.address) {
            self.0.is_heavy.store(true, Ordering::Relaxed);
        }
        self.take_place().await;
    }

    /// Much is to be done now.
    pub async fn heavy_follows(&self) {
        self.0.is_heavy.store(true, Ordering::Relaxed);
        self.take_place().await;
    }

    /// It may not be sent away from now on.
    pub async fn stays(&self) {
        self.0.stays.store(true, Ordering::Relaxed);
        self.take_place().await;
    }

    /// Before a document that is new is read.
    pub async fn before_document(&self) {
        if self.0.processor.gives_way(self.0.address, self.0.address) {
            self.heavy_follows().await;
        }
    }

    /// Reads it, on its address's account.
    pub fn document<T>(&self, read: impl FnOnce() -> T) -> T {
        let begun = time_of_thread();
        let done = read();
        self.0.processor.charge(self.0.address, time_of_thread().saturating_sub(begun));
        done
    }

    /// Goes where the operation is to run, if that is not here.
    pub async fn take_place(&self) {
        if self.is_misplaced() {
            yield_now().await;
        }
    }

    /// The next of several parts, each with its own time.
    pub fn begin_anew(&self) {
        self.0.used.store(0, Ordering::Relaxed);
        let account = *self.account();
        self.0.is_heavy.store(self.0.processor.gives_way(account, self.0.address), Ordering::Relaxed);
    }

    fn account(&self) -> MutexGuard<'_, Uuid> {
        self.0.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_misplaced(&self) -> bool {
        let is_heavy = self.0.is_heavy.load(Ordering::Relaxed) && !self.0.stays.load(Ordering::Relaxed);
        self.0.is_away.load(Ordering::Relaxed) != is_heavy
    }

    /// Polls, and writes down what that used.
    fn poll<F: Future>(&self, work: &mut Pin<Box<F>>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Of somebody else.
        let _ = priority::take_done_elsewhere();
        let begun = time_of_thread();
        let polled = work.as_mut().poll(context);
        let more = time_of_thread().saturating_sub(begun) + priority::take_done_elsewhere();
        let nanos = u64::try_from(more.as_nanos()).unwrap_or(u64::MAX);
        let before = self.0.used.fetch_add(nanos, Ordering::Relaxed);
        if Duration::from_nanos(before.saturating_add(nanos)) > LIGHT {
            self.0.is_heavy.store(true, Ordering::Relaxed);
        }
        let account = *self.account();
        self.0.processor.charge(account, more);
        polled
    }

    /// Runs an operation's work: here, or in the background as soon as it is heavy. Dropped, it ends the work in both.
    pub fn run<F>(self, work: F) -> impl Future<Output = F::Output> + Send
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let mut work = Box::pin(work);
        async move {
            loop {
                let done = poll_fn(|context| match self.poll(&mut work, context) {
                    Poll::Ready(done) => Poll::Ready(Some(done)),
                    Poll::Pending if self.is_misplaced() => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                });
                if let Some(done) = done.await {
                    return done;
                }
                self.0.processor.0.metrics.sent_to_background();
                let away = Away { here: Handle::current(), meter: self.clone(), work: Some(work) };
                match self.0.processor.0.background.run(away).await {
                    Ok(done) => return done,
                    Err(back) => work = back,
                }
            }
        }
    }
}

/// Work in the background: as if it were on the runtime that it comes from, whose sockets and timers it uses.
struct Away<F> {
    here: Handle,
    meter: Meter,
    work: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for Away<F> {
    /// Or the work, which is to go on where it came from.
    type Output = Result<F::Output, Pin<Box<F>>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let away = &mut *self;
        let Some(work) = &mut away.work else { return Poll::Pending };
        away.meter.0.is_away.store(true, Ordering::Relaxed);
        let _here = away.here.enter();
        match away.meter.poll(work, context) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending if away.meter.is_misplaced() => {
                away.meter.0.is_away.store(false, Ordering::Relaxed);
                away.work.take().map_or(Poll::Pending, |work| Poll::Ready(Err(work)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<F> Drop for Away<F> {
    fn drop(&mut self) {
        self.meter.0.is_away.store(false, Ordering::Relaxed);
        let _here = self.here.enter();
        self.work = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processor() -> Processor {
        Processor::new(Metrics::new(false)).expect("threads start")
    }

    fn caller(number: u128) -> Consumer {
        Consumer::person(Uuid::from_u128(number))
    }

    fn is_away() -> bool {
        std::thread::current().name() == Some("background")
    }

    /// Uses a processor for so long.
    fn burn(time: Duration) {
        let begun = time_of_thread();
        while time_of_thread().saturating_sub(begun) < time {
            std::hint::spin_loop();
        }
    }

    /// An operation of somebody who uses this much, and gives others a turn.
    async fn uses(processor: &Processor, consumer: Consumer, time: Duration) -> (bool, bool) {
        let meter = processor.meter(None);
        let own = meter.clone();
        let work = async move {
            own.belongs_to(consumer).await;
            let begins = is_away();
            burn(time);
            yield_now().await;
            (begins, is_away())
        };
        meter.run(work).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_long_operation_goes_on_in_the_background() {
        let processor = processor();
        assert_eq!(uses(&processor, caller(1), Duration::ZERO).await, (false, false));
        assert_eq!(uses(&processor, caller(1), LIGHT * 2).await, (false, true));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn new_documents_are_on_their_address() {
        let processor = processor();
        let elsewhere = Some([192, 0, 2, 1].into());
        let away = |ip, known: bool| {
            let meter = processor.meter(ip);
            let own = meter.clone();
            // Somebody else is there.
            processor.charge(Uuid::from_u128(7), Duration::ZERO);
            meter.run(async move {
                if known {
                    own.belongs_to(caller(1)).await;
                } else {
                    own.before_document().await;
                }
                is_away()
            })
        };
        assert!(!away(None, false).await);
        processor.meter(None).document(|| burn(Duration::from_millis(200)));
        assert!(away(None, false).await);
        assert!(!away(None, true).await, "whoever is known there, with documents that are known");
        assert!(!away(elsewhere, false).await);
    }

    #[tokio::test]
    async fn work_in_the_background_uses_what_is_here_and_comes_back() {
        let meter = processor().meter(None);
        let (own, here) = (meter.clone(), Handle::current().id());
        let places = meter.run(async move {
            own.heavy_follows().await;
            let (away, runtime) = (is_away(), Handle::current().id());
            tokio::time::sleep(Duration::from_millis(1)).await;
            let spawned = tokio::spawn(async { is_away() }).await.expect("it ends");
            own.stays().await;
            (away, runtime == here, spawned, is_away())
        });
        assert_eq!(places.await, (true, true, false, false));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_ends() {
        struct Ended(Option<tokio::sync::oneshot::Sender<()>>);
        impl Drop for Ended {
            fn drop(&mut self) {
                self.0.take().map(|ended| ended.send(()));
            }
        }
        let meter = processor().meter(None);
        let own = meter.clone();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (ended, has_ended) = tokio::sync::oneshot::channel();
        let work = tokio::spawn(meter.run(async move {
            let _ended = Ended(Some(ended));
            own.heavy_follows().await;
            let _ = begun.send(is_away());
            std::future::pending::<()>().await;
        }));
        assert_eq!(has_begun.await, Ok(true));
        work.abort();
        assert_eq!(has_ended.await, Ok(()));
    }

    #[tokio::test]
    async fn a_panic_is_the_callers() {
        let meter = processor().meter(None);
        let own = meter.clone();
        let work = tokio::spawn(meter.run(async move {
            own.heavy_follows().await;
            panic!("as expected");
        }));
        assert!(work.await.is_err_and(|error| error.is_panic()));
    }
}
