//! One webhook's deliveries, sent one after the other and a few at a time, as long as the queue is held.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::future::try_join_all;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{Worker, batch_writer::Recorded};
use crate::{
    base::{
        error::Result,
        id::{EventId, WebhookDeliveryId},
        trace,
    },
    data::{
        actor::Origin,
        db::{
            OrgScope,
            deliveries::{DeliveryQueue, Next, Outcome},
            retrying,
        },
        entity::{event, webhook, webhook_attempt, webhook_delivery},
    },
    domains::webhooks::{
        sending::{self, Attempted, Content, Sender, Verdict, ping},
        service,
    },
    platform::mail::{Email, span},
};

/// Requests in flight to one receiver.
const IN_FLIGHT: usize = 4;
/// Attempts that have begun and are not written down yet: what a receiver may get twice when this process dies.
pub const UNRECORDED: usize = 16;
/// Deliveries read and rendered at once. With 8 each costs twice the processor, and requests wait no less.
const PAGE: u64 = 32;
/// Before a queue that could not be worked is released, so that it isn't taken again at once.
const PAUSE: Duration = Duration::from_secs(1);

/// Works a queue until nothing is due, it was held for long enough, or `stop`; then releases it. What goes wrong is
/// logged, and tried again by whoever takes the queue next. `is_failing`: what was sent last was not accepted.
pub async fn work(worker: Worker, queue: DeliveryQueue, is_failing: bool, until: Instant, stop: CancellationToken) {
    let metrics = &worker.0.state.metrics;
    metrics.took_webhooks(1);
    let mut run = Run::new(&worker, queue, is_failing, until, stop);
    if let Err(error) = run.go().await {
        tracing::warn!(webhook = %queue.webhook_id, error = %error.describe(), "sending to a webhook failed");
        // What is in flight is awaited, so that nobody begins beside it.
        while run.running.join_next().await.is_some() {}
        tokio::time::sleep(PAUSE).await;
    }
    metrics.took_webhooks(-1);
    if let Err(error) = worker.0.state.db.release_queue(queue).await {
        tracing::warn!(webhook = %queue.webhook_id, error = %error.describe(), "a queue was not released");
    }
}

struct Run<'w> {
    worker: &'w Worker,
    queue: DeliveryQueue,
    until: Instant,
    stop: CancellationToken,
    slots: Arc<Semaphore>,
    /// Due, and not begun.
    waiting: VecDeque<(webhook_delivery::Model, Content, Arc<Sender>)>,
    /// Begun, and not written down.
    running: JoinSet<Result<Ended>>,
    begun: HashSet<WebhookDeliveryId>,
    /// The last attempt failed: one at a time until one is accepted, so that receivers that hang hold few connections.
    is_failing: bool,
}

/// An attempt that has been written down.
struct Ended {
    delivery_id: WebhookDeliveryId,
    /// `None`: the queue's time was over, nothing was sent.
    made: Option<(Verdict, crate::base::clock::Instant, Recorded)>,
}

impl<'w> Run<'w> {
    fn new(
        worker: &'w Worker,
        queue: DeliveryQueue,
        is_failing: bool,
        until: Instant,
        stop: CancellationToken,
    ) -> Self {
        Self {
            worker,
            queue,
            until,
            stop,
            slots: Arc::new(Semaphore::new(IN_FLIGHT)),
            waiting: VecDeque::new(),
            running: JoinSet::new(),
            begun: HashSet::new(),
            is_failing,
        }
    }

    async fn go(&mut self) -> Result<()> {
        let mut due = self.worker.0.state.db.bus().deliveries();
        // Whether there may be something that has not been seen.
        let mut look = true;
        loop {
            let is_over = self.stop.is_cancelled() || Instant::now() >= self.until;
            if is_over {
                self.waiting.clear();
            }
            let most = if self.is_failing { 1 } else { UNRECORDED };
            while self.running.len() < most
                && let Some((delivery, content, sender)) = self.waiting.pop_front()
            {
                self.begin(delivery, content, sender);
            }
            if look && self.waiting.is_empty() && !is_over {
                look = false;
                due.mark_unchanged();
                self.fetch().await?;
                continue;
            }
            if self.running.is_empty() {
                return Ok(());
            }
            tokio::select! {
                Some(ended) = self.running.join_next() => {
                    if let Ok(ended) = ended {
                        self.ended(ended?).await?;
                    }
                    look = true;
                }
                _ = due.changed(), if !is_over => look = true,
            }
        }
    }

    /// Reads what is due, with what will be sent.
    async fn fetch(&mut self) -> Result<()> {
        let state = &self.worker.0.state;
        let Some(webhook) = state.db.webhook_of(self.queue).await? else {
            self.waiting.clear();
            return Ok(());
        };
        let limit = if self.is_failing { 1 } else { PAGE };
        let due = state.db.due_deliveries(&webhook, self.begun.iter().copied().collect(), limit).await?;
        if due.is_empty() {
            return Ok(());
        }
        let sender = Arc::new(Sender::new(&webhook, &state.outgoing, &state.secret, state.clock())?);
        let events = self.events(&webhook, &due).await?;
        let contents =
            self.worker.0.renderer.render(webhook.organization_id, events.values().cloned().collect()).await?;
        let mut unsent = Vec::new();
        for delivery in due {
            let content = match delivery.event_id {
                Some(event) => contents.get(&event).cloned(),
                None => Some(ping(&delivery)),
            };
            match content {
                Some(content) => self.waiting.push_back((delivery, content, sender.clone())),
                None => unsent.push(delivery),
            }
        }
        // Together, so that the batch writer writes them in one transaction.
        try_join_all(unsent.iter().map(|delivery| self.unsent(delivery, &events))).await?;
        Ok(())
    }

    /// What the deliveries are of; what is no longer kept is missing.
    async fn events(
        &self,
        webhook: &webhook::Model,
        due: &[webhook_delivery::Model],
    ) -> Result<HashMap<EventId, event::Model>> {
        let ids: Vec<_> = due.iter().filter_map(|delivery| delivery.event_id).collect();
        match ids.is_empty() {
            true => Ok(HashMap::new()),
            false => self.worker.0.state.db.events_of(webhook.organization_id, ids).await,
        }
    }

    fn begin(&mut self, delivery: webhook_delivery::Model, content: Content, sender: Arc<Sender>) {
        self.begun.insert(delivery.id);
        let (worker, queue, until, slots) = (self.worker.clone(), self.queue, self.until, self.slots.clone());
        let (organization, webhook) = (delivery.organization_id, delivery.webhook_id);
        // A trace of its own: the receiver goes on from it (`traceparent`).
        let span = tracing::info_span!(
            parent: None,
            "delivery",
            %organization,
            %webhook,
            delivery = %delivery.id,
            otel.kind = trace::kind("client"),
        );
        let attempt = async move {
            // The queue's own place first: who waits for that takes none from the organization's other webhooks.
            let Ok(slot) = slots.acquire().await else { return Ok(Ended { delivery_id: delivery.id, made: None }) };
            let place = timeout_at(until, worker.0.state.outgoing.place(queue.organization_id)).await;
            let Some(place) = place.ok().flatten().filter(|_| Instant::now() < until) else {
                return Ok(Ended { delivery_id: delivery.id, made: None });
            };
            let attempted = sender.attempt(&delivery, content, place).await?;
            drop(slot);
            let schedule = &worker.0.schedule;
            // A test is tried once.
            let next = match sending::next(&attempted, schedule) {
                Next::Retry(_) if delivery.event_id.is_none() => Next::Dead,
                next => next,
            };
            let Attempted { attempt, verdict, at } = attempted;
            let took = Duration::from_millis(u64::try_from(attempt.duration_ms).unwrap_or_default());
            worker.0.state.metrics.attempted(next.name(), took);
            let was_sent = verdict != Verdict::Unsent;
            let recorded = worker.batch_writer().record(Outcome { queue, attempt, next, at, was_sent }).await?;
            Ok(Ended { delivery_id: delivery.id, made: Some((verdict, at, recorded)) })
        };
        self.running.spawn(attempt.instrument(span));
    }

    async fn ended(&mut self, ended: Ended) -> Result<()> {
        self.begun.remove(&ended.delivery_id);
        let Some((verdict, at, recorded)) = ended.made else { return Ok(()) };
        let Some(failing_since) = recorded else {
            // Somebody else has it.
            self.until = Instant::now();
            return Ok(());
        };
        if verdict != Verdict::Unsent {
            self.is_failing = verdict != Verdict::Accepted;
        }
        let patience = self.worker.0.state.config.webhooks.disable_after;
        let failing = failing_since.and_then(|since| (at - since).to_std().ok());
        match verdict {
            Verdict::Gone => self.disable("The receiver answered 410 (gone).").await,
            Verdict::Failed { .. } if failing.is_some_and(|failing| failing >= patience) => {
                self.disable(&format!("Nothing was accepted for {}.", span(patience))).await
            }
            Verdict::Accepted | Verdict::Failed { .. } | Verdict::Unsent => Ok(()),
        }
    }

    /// Disables the webhook and tells the organization's owners.
    async fn disable(&mut self, reason: &str) -> Result<()> {
        self.waiting.clear();
        let state = &self.worker.0.state;
        let scope = OrgScope::of_system(&state.db, self.queue.organization_id, Origin::command("webhooks")).await?;
        let disabled = retrying(|| service::disable(&scope, self.queue.webhook_id, reason)).await?;
        let Some(webhook) = disabled else { return Ok(()) };
        tracing::info!(webhook = %webhook.id, reason, "a webhook was disabled");
        for owner in service::owners(&scope).await? {
            state.mailer.post(Email::webhook_disabled(&owner, &scope.organization().name, &webhook, reason));
        }
        Ok(())
    }

    /// An attempt that can't be made, for want of what to send: given up when the event is no longer kept; tried again, by
    /// the schedule, when it could not be shown.
    async fn unsent(&self, delivery: &webhook_delivery::Model, events: &HashMap<EventId, event::Model>) -> Result<()> {
        let at = self.worker.0.state.clock().now();
        let is_kept = delivery.event_id.is_some_and(|event| events.contains_key(&event));
        let error = if is_kept { "the event could not be shown" } else { "the event is no longer kept" };
        let attempt = webhook_attempt::Model {
            organization_id: delivery.organization_id,
            delivery_id: delivery.id,
            number: delivery.attempt_count + 1,
            started_at: at,
            duration_ms: 0,
            response_status: None,
            response_body: None,
            error: Some(error.to_owned()),
        };
        let failed = Attempted { attempt, verdict: Verdict::Failed { retry_after: None }, at };
        let next = if is_kept { sending::next(&failed, &self.worker.0.schedule) } else { Next::Dead };
        let outcome = Outcome { queue: self.queue, attempt: failed.attempt, next, at, was_sent: false };
        self.worker.batch_writer().record(outcome).await?;
        Ok(())
    }
}
