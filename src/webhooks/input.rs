use std::collections::{BTreeSet, HashSet};

use async_graphql::{InputObject, MaybeUndefined};
use sea_orm::{ColumnTrait, Condition};
use serde_json::json;

use crate::{
    accounts::input::required,
    api_keys::input::check_grace,
    db::filter::everything,
    entity::{enums::DeliveryStatus, webhook, webhook_delivery},
    error::{Problem, ProblemCode, Problems, Result},
    graphql::{
        filter::{DateTimeFilter, Filtering},
        patch::IdSetPatch,
        scalars::{Cursor, Url},
    },
    id::{ClientMade, TeamId, WebhookDeliveryId, WebhookId},
    ledger::{EventType, deliveries::named_teams},
};

const MAX_NAME: usize = 100;
/// As long as most servers accept.
const MAX_URL: usize = 2000;
/// Teams that one webhook may name.
pub const MAX_TEAMS: usize = 50;

/// Leave out `eventTypes` for every type, `teamIds` for all teams.
#[derive(InputObject, Clone)]
pub struct WebhookCreateInput {
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<WebhookId>,
    pub name: Option<String>,
    pub url: Url,
    pub event_types: Option<Vec<EventType>>,
    pub team_ids: Option<Vec<TeamId>>,
    /// Whether the deliveries of one item's events wait for each other.
    #[graphql(default = false)]
    pub is_ordered: bool,
}

impl WebhookCreateInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        if let Some(name) = &self.name {
            problems.length(&["input", "name"], name, 1, MAX_NAME);
        }
        problems.length(&["input", "url"], &self.url.0, 1, MAX_URL);
        check_list(&mut problems, &["input", "eventTypes"], self.event_types.as_deref(), usize::MAX);
        check_list(&mut problems, &["input", "teamIds"], self.team_ids.as_deref(), MAX_TEAMS);
        problems.finish()
    }

    pub fn types(&self) -> Option<HashSet<EventType>> {
        self.event_types.as_ref().map(|types| types.iter().copied().collect())
    }

    pub fn teams(&self) -> Option<BTreeSet<TeamId>> {
        self.team_ids.as_ref().map(|teams| teams.iter().copied().collect())
    }
}

#[derive(InputObject, Clone)]
pub struct WebhookPatch {
    /// Null: none.
    pub name: MaybeUndefined<String>,
    pub url: MaybeUndefined<Url>,
    /// Null: every type.
    pub event_types: MaybeUndefined<Vec<EventType>>,
    /// Null: all teams.
    pub teams: MaybeUndefined<IdSetPatch>,
    /// False pauses: nothing is sent, and later events are not queued. True also enables what the server has disabled.
    pub is_enabled: MaybeUndefined<bool>,
    pub is_ordered: MaybeUndefined<bool>,
}

impl WebhookPatch {
    pub fn validate(&self) -> Result<()> {
        let Self { name, url, event_types, teams, is_enabled, is_ordered } = self;
        let mut problems = Problems::default();
        if let MaybeUndefined::Value(name) = name {
            problems.length(&["input", "patch", "name"], name, 1, MAX_NAME);
        }
        required(&mut problems, &["input", "patch", "url"], url);
        if let MaybeUndefined::Value(url) = url {
            problems.length(&["input", "patch", "url"], &url.0, 1, MAX_URL);
        }
        if let MaybeUndefined::Value(types) = event_types {
            check_list(&mut problems, &["input", "patch", "eventTypes"], Some(types), usize::MAX);
        }
        if let MaybeUndefined::Value(teams) = teams {
            teams.check(&mut problems, &["input", "patch", "teams"]);
        }
        required(&mut problems, &["input", "patch", "isEnabled"], is_enabled);
        required(&mut problems, &["input", "patch", "isOrdered"], is_ordered);
        problems.finish()
    }

    /// Writes what the patch says into the row, except for the state, which has rules of its own.
    pub fn apply(&self, row: &mut webhook::Model) -> Result<()> {
        let Self { name, url, event_types, teams, is_enabled: _, is_ordered } = self;
        name.clone().map_value(|name| name.trim().to_owned()).update_to(&mut row.name);
        if let MaybeUndefined::Value(url) = url {
            row.url = url.0.trim().to_owned();
        }
        let types = event_types.clone().map_value(|types| types_json(&types.into_iter().collect()));
        types.update_to(&mut row.event_types);
        match teams {
            MaybeUndefined::Undefined => {}
            MaybeUndefined::Null => row.team_ids = None,
            MaybeUndefined::Value(patch) => {
                let path = ["input", "patch", "teams"];
                let present: BTreeSet<TeamId> = row.team_ids.iter().flat_map(named_teams).collect();
                let teams = patch.apply(&present, &path, MAX_TEAMS)?;
                if teams.is_empty() {
                    let message = "At least one team; null stands for all.";
                    return Err(Problem::new(ProblemCode::Required, &path, message).into());
                }
                row.team_ids = Some(json!(teams));
            }
        }
        if let MaybeUndefined::Value(is_ordered) = is_ordered {
            row.is_ordered = *is_ordered;
        }
        Ok(())
    }
}

#[derive(InputObject, Clone)]
pub struct WebhookUpdateInput {
    pub id: WebhookId,
    pub if_version: Option<i32>,
    pub patch: WebhookPatch,
}

#[derive(InputObject, Clone)]
pub struct WebhookRotateSecretInput {
    pub id: WebhookId,
    /// How long deliveries are signed with the old secret, too, 720 at most; 0 ends it at once.
    #[graphql(default = 24)]
    pub grace_hours: i32,
}

impl WebhookRotateSecretInput {
    pub fn validate(&self) -> Result<()> {
        check_grace(self.grace_hours)
    }
}

#[derive(InputObject, Clone)]
pub struct WebhookTestInput {
    pub id: WebhookId,
}

/// Events after `after` and before `before`, both ledger cursors; at most 10,000 that the webhook wants.
#[derive(InputObject, Clone)]
pub struct WebhookReplayInput {
    pub id: WebhookId,
    pub after: Cursor,
    /// Leave out for all that there are.
    pub before: Option<Cursor>,
    /// Of these types alone; the webhook's own filters hold, too.
    pub event_types: Option<Vec<EventType>>,
}

impl WebhookReplayInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        check_list(&mut problems, &["input", "eventTypes"], self.event_types.as_deref(), usize::MAX);
        problems.finish()
    }
}

#[derive(InputObject, Clone)]
pub struct WebhookDeleteInput {
    pub id: WebhookId,
}

#[derive(InputObject, Clone)]
pub struct WebhookDeliveryRetryInput {
    pub id: WebhookDeliveryId,
}

#[derive(InputObject, Clone, Debug, Default)]
pub struct DeliveryFilter {
    pub statuses: Option<Vec<DeliveryStatus>>,
    pub event_types: Option<Vec<EventType>>,
    pub created_at: Option<DateTimeFilter>,
}

impl DeliveryFilter {
    pub fn condition(&self, f: &mut Filtering<'_>) -> Result<Condition> {
        use webhook_delivery::Column;
        let Self { statuses, event_types, created_at } = self;
        let mut all = everything();
        if let Some(statuses) = statuses {
            f.spend_list(statuses)?;
            all = all.add(Column::Status.is_in(statuses.iter().copied()));
        }
        if let Some(types) = event_types {
            f.spend_list(types)?;
            all = all.add(Column::EventType.is_in(types.iter().copied()));
        }
        if let Some(when) = created_at {
            all = all.add(when.condition(f, Column::CreatedAt)?);
        }
        Ok(all)
    }
}

/// Types as they are stored, in order of declaration, so that the same set is the same text.
pub fn types_json(types: &HashSet<EventType>) -> serde_json::Value {
    use sea_orm::{ActiveEnum as _, Iterable as _};
    EventType::iter().filter(|kind| types.contains(kind)).map(|kind| kind.to_value()).collect::<Vec<_>>().into()
}

/// A list that narrows: empty it would let nothing through.
fn check_list<T>(problems: &mut Problems, path: &[&str], list: Option<&[T]>, max: usize) {
    let Some(list) = list else { return };
    if list.is_empty() {
        problems.push(ProblemCode::Required, path, "At least one; leave it out for all.");
    }
    problems.count(path, list.len(), max);
}
