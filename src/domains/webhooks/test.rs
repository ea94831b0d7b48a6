//! A test: one `ping`, sent while its caller waits, beside whatever workers do.

use std::time::Duration;

use sea_orm::ColumnTrait as _;

use super::sending::{Sender, Verdict, ping};
use crate::{
    base::{
        enums::DeliveryStatus,
        error::{Error, Result},
    },
    data::{
        db::{OrgScope, deliveries::Next},
        entity::{webhook, webhook_delivery},
    },
    platform::state::State,
};

/// How long the caller waits: shorter than an operation may take. The attempt goes on without them.
const PATIENCE: Duration = Duration::from_secs(8);

/// Sends a test that has just begun; the delivery as it then is. One that is done (a repeat's) is not sent again.
pub async fn send(state: &State, scope: &OrgScope, begun: webhook_delivery::Model) -> Result<webhook_delivery::Model> {
    if begun.status != DeliveryStatus::Pending || begun.attempt_count > 0 {
        return Ok(begun);
    }
    let own = scope.find::<webhook::Entity>().filter(webhook::Column::Id.eq(begun.webhook_id));
    let Some(webhook) = own.one().await? else { return Ok(begun) };
    let sender = Sender::new(&webhook, &state.outgoing, &state.secret, scope.clock())?;
    let (db, outgoing, delivery) = (state.db.clone(), state.outgoing.clone(), begun.clone());
    // In the background: it is written down also when the caller is gone.
    let attempt = state.background.spawn(async move {
        let place = outgoing.place(delivery.organization_id).await.ok_or_else(|| Error::internal("no place"))?;
        let attempted = sender.attempt(&delivery, ping(&delivery), place).await?;
        let next = if attempted.verdict == Verdict::Accepted { Next::Delivered } else { Next::Dead };
        db.record_test(attempted.attempt, next).await
    });
    if let Ok(Ok(recorded)) = tokio::time::timeout(PATIENCE, attempt).await {
        recorded?;
    }
    Ok(scope.get::<webhook_delivery::Entity>(begun.id).await?.unwrap_or(begun))
}
