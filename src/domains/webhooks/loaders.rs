use std::collections::HashMap;

use async_graphql::dataloader::Loader;

use super::service::MAX_ATTEMPTS;
use crate::{
    base::id::{WebhookDeliveryId, WebhookId},
    data::{
        db::{OrgScope, filter::among},
        entity::{webhook_attempt, webhook_delivery},
    },
    graphql::loaders::{LoadError, ScopedLoader},
};

/// What of a webhook's deliveries is not done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waiting {
    pub count: i64,
    /// The lowest sequence among them; none where nothing but tests wait.
    pub oldest: Option<i64>,
    /// The ledger's newest sequence.
    pub head: i64,
}

pub struct WaitingOf(OrgScope);

impl ScopedLoader for WaitingOf {
    fn new(scope: OrgScope) -> Self {
        Self(scope)
    }
}

impl Loader<WebhookId> for WaitingOf {
    type Value = Waiting;
    type Error = LoadError;

    async fn load(&self, ids: &[WebhookId]) -> Result<HashMap<WebhookId, Waiting>, LoadError> {
        use webhook_delivery::Column;
        // First: what is queued meanwhile is then beyond it.
        let head = self.0.ledger_head().await?;
        let mut found: HashMap<WebhookId, Waiting> =
            ids.iter().map(|id| (*id, Waiting { head, ..Waiting::default() })).collect();
        let waiting = self
            .0
            .find::<webhook_delivery::Entity>()
            .filter(among(self.0.db(), Column::WebhookId, ids.iter().copied()))
            .filter(sea_orm::ColumnTrait::is_not_null(&Column::NextAttemptAt))
            .count_with_least(Column::WebhookId, Column::Sequence)
            .await?;
        for (id, count, oldest) in waiting {
            if let Some(waiting) = found.get_mut(&WebhookId::from_uuid(id)) {
                (waiting.count, waiting.oldest) = (count, oldest);
            }
        }
        Ok(found)
    }
}

/// The attempts of a delivery, first one first.
pub struct AttemptsOf(OrgScope);

impl ScopedLoader for AttemptsOf {
    fn new(scope: OrgScope) -> Self {
        Self(scope)
    }
}

impl Loader<WebhookDeliveryId> for AttemptsOf {
    type Value = Vec<webhook_attempt::Model>;
    type Error = LoadError;

    async fn load(
        &self,
        ids: &[WebhookDeliveryId],
    ) -> Result<HashMap<WebhookDeliveryId, Vec<webhook_attempt::Model>>, LoadError> {
        use webhook_attempt::Column;
        let rows = self
            .0
            .find::<webhook_attempt::Entity>()
            .filter(among(self.0.db(), Column::DeliveryId, ids.iter().copied()))
            .filter(sea_orm::ColumnTrait::lte(&Column::Number, MAX_ATTEMPTS))
            .order_by_asc(Column::Number)
            .all()
            .await?;
        let mut attempts: HashMap<WebhookDeliveryId, Vec<webhook_attempt::Model>> = HashMap::new();
        for row in rows {
            attempts.entry(row.delivery_id).or_default().push(row);
        }
        Ok(attempts)
    }
}
