//! `subscription { events }`. The root resolver runs once to read its arguments, and then once for each batch, so that no
//! execution lives as long as its subscriber: `api::endpoint::stream` does the waiting.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_graphql::{Context, Subscription};
use futures_util::{Stream, stream};

use super::{input::EventFilter, types::EventBatch};
use crate::{
    base::{
        clock::Instant,
        error::Result,
        policy::{Access, access},
    },
    graphql::{context::ContextExt, filter::Filtering, scalars::Cursor},
};

/// What the resolver runs for.
#[derive(Clone)]
pub enum Run {
    /// To begin: reads and checks the arguments.
    Open(Arc<Opening>),
    /// To answer with one batch.
    Batch(Arc<Mutex<Option<EventBatch>>>),
}

impl Run {
    pub fn batch(batch: EventBatch) -> Self {
        Self::Batch(Arc::new(Mutex::new(Some(batch))))
    }
}

/// What is asked for.
#[derive(Default)]
pub struct Opening {
    /// Where a broken stream goes on (`Last-Event-ID`), instead of at the argument.
    pub resume: Option<String>,
    opened: OnceLock<Opened>,
}

/// Checked arguments.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The sequence to begin after; the newest where no cursor was given.
    pub after: i64,
    /// The newest sequence when it was opened.
    pub head: i64,
    pub filter: Option<EventFilter>,
    /// What the filter's relative times are relative to.
    pub now: Instant,
}

impl Opening {
    pub fn resuming(resume: Option<String>) -> Arc<Self> {
        Arc::new(Self { resume, opened: OnceLock::new() })
    }

    /// The arguments, once the resolver has run without an error.
    pub fn opened(&self) -> Option<Opened> {
        self.opened.get().cloned()
    }
}

#[derive(Default)]
pub struct EventSubscription;

#[Subscription]
impl EventSubscription {
    /// Events after the cursor, then live, without loss or reordering.
    ///
    /// When nothing was sent for 30 s, an empty batch is the heartbeat; it also moves the cursor past events the
    /// filter hid.
    ///
    /// Ends with CURSOR_EXPIRED (resync), SLOW_CONSUMER (resume; only this operation ends, not the socket), or
    /// UNAUTHENTICATED when access is withdrawn.
    #[graphql(directive = access::apply(Access::Member))]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Ledger position to begin after; left out: now.")] after: Option<Cursor>,
        #[graphql(desc = "What must hold; null or left out: everything.")] filter: Option<EventFilter>,
    ) -> Result<impl Stream<Item = EventBatch> + use<>> {
        let batch = match ctx.data_unchecked::<Run>() {
            Run::Batch(batch) => batch.lock().unwrap_or_else(PoisonError::into_inner).take(),
            Run::Open(opening) => {
                open(ctx, opening, after, filter).await?;
                None
            }
        };
        Ok(stream::iter(batch))
    }
}

async fn open(ctx: &Context<'_>, opening: &Opening, after: Option<Cursor>, filter: Option<EventFilter>) -> Result<()> {
    let (scope, now) = (ctx.scope()?, ctx.state().clock().now());
    if let Some(filter) = &filter {
        filter.condition(&mut Filtering::new(scope, now))?;
    }
    let from = opening.resume.as_ref().or(after.as_ref().map(|cursor| &cursor.0));
    let from = match from {
        Some(cursor) => Some(scope.ledger_position(cursor).await?),
        None => None,
    };
    let head = scope.ledger_head().await?;
    let _ = opening.opened.set(Opened { after: from.unwrap_or(head), head, filter, now });
    Ok(())
}
