//! Which webhooks get an event, and the deliveries that go into the change's own transaction: either both are there, or
//! nothing happened.

use std::collections::HashSet;

use sea_orm::{
    ActiveEnum as _, ActiveModelTrait as _, EntityTrait, IntoActiveModel as _, QueryFilter,
    prelude::{ColumnTrait, Json},
};

use super::Change;
use crate::{
    base::{
        clock::{Clock, Instant},
        enums::{DeliveryStatus, Feature, WebhookState},
        error::Result,
        id::{OrganizationId, TeamId, WebhookId},
        plan,
    },
    data::{
        db::{Transaction, fail},
        entity::{EventType, event, ledger_head, webhook, webhook_delivery},
    },
};

/// What one webhook wants to hear of.
#[derive(Clone, Debug)]
pub struct Route {
    webhook_id: WebhookId,
    /// `None`: every type.
    types: Option<HashSet<EventType>>,
    /// `None`: all teams.
    teams: Option<HashSet<TeamId>>,
}

impl Route {
    pub fn of(webhook: &webhook::Model) -> Self {
        Self {
            webhook_id: webhook.id,
            types: webhook.event_types.as_ref().map(|types| named_types(types).collect()),
            teams: webhook.team_ids.as_ref().map(|teams| named_teams(teams).collect()),
        }
    }

    /// Whether an event is for this webhook. What leaves a team concerns that team, too: otherwise whoever follows it
    /// would keep what is not there any more.
    pub fn wants(&self, event: &event::Model) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&event.r#type))
            && self.teams.as_ref().is_none_or(|teams| {
                event.team_id.is_some_and(|team| teams.contains(&team))
                    || left_team(event).is_some_and(|team| teams.contains(&team))
            })
    }

    /// The delivery of an event, due now.
    pub fn delivery(&self, event: &event::Model, clock: &Clock, now: Instant) -> webhook_delivery::Model {
        webhook_delivery::Model {
            organization_id: event.organization_id,
            id: clock.new_id(),
            webhook_id: self.webhook_id,
            event_id: Some(event.id),
            event_type: Some(event.r#type),
            sequence: Some(event.sequence),
            ordering_id: Some(event.item_id.map_or(event.subject_id, |item| item.uuid())),
            status: DeliveryStatus::Pending,
            attempt_count: 0,
            next_attempt_at: Some(clock.by_database(now)),
            created_at: now,
        }
    }
}

/// The types that a webhook's row names; one of a later release is left out.
pub fn named_types(types: &Json) -> impl Iterator<Item = EventType> + '_ {
    let names = types.as_array().into_iter().flatten().filter_map(Json::as_str);
    names.filter_map(|name| EventType::try_from_value(&name.to_owned()).ok())
}

/// The teams that a webhook's row names.
pub fn named_teams(teams: &Json) -> impl Iterator<Item = TeamId> + '_ {
    teams.as_array().into_iter().flatten().filter_map(Json::as_str).filter_map(|id| id.parse().ok())
}

/// The team that the event's item belonged to until then.
fn left_team(event: &event::Model) -> Option<TeamId> {
    let changes = event.changes.as_array()?;
    let team = changes.iter().find(|change| change["field"] == Change::TEAM)?;
    team["before"].as_str()?.parse().ok()
}

/// Inserts the deliveries of new events; says whether there are any. `head` is the organization's, locked: who has no
/// webhooks is not asked for them.
pub(super) async fn insert(
    tx: &Transaction,
    organization_id: OrganizationId,
    head: &ledger_head::Model,
    events: &[event::Model],
    clock: &Clock,
    now: Instant,
) -> Result<bool> {
    if head.webhook_count == 0 || events.is_empty() || !plan::includes(head.plan_tier, Feature::Webhooks) {
        return Ok(false);
    }
    #[allow(clippy::disallowed_methods, reason = "the organization whose events these are")]
    let webhooks = webhook::Entity::find()
        .filter(webhook::Column::OrganizationId.eq(organization_id))
        .filter(webhook::Column::State.eq(WebhookState::Enabled))
        .all(tx)
        .await
        .map_err(fail)?;
    let routes: Vec<Route> = webhooks.iter().map(Route::of).collect();
    let wanted = events.iter().flat_map(|event| {
        let routes = routes.iter().filter(move |route| route.wants(event));
        routes.map(move |route| route.delivery(event, clock, now))
    });
    let rows: Vec<webhook_delivery::ActiveModel> = wanted.map(into_row).collect();
    // SQLite refuses a statement with more than 32,766 values.
    for chunk in rows.chunks(1000) {
        #[allow(clippy::disallowed_methods, reason = "the one place that writes events, and what follows from them")]
        webhook_delivery::Entity::insert_many(chunk.to_vec()).exec_without_returning(tx).await.map_err(fail)?;
    }
    Ok(!rows.is_empty())
}

/// A whole row to insert.
pub fn into_row(delivery: webhook_delivery::Model) -> webhook_delivery::ActiveModel {
    delivery.into_active_model().reset_all()
}
