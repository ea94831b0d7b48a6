use std::collections::{BTreeSet, HashSet};

use async_graphql::{InputObject, MaybeUndefined};
use sea_orm::{ColumnTrait, Condition};
use serde_json::json;

use crate::{
    base::{
        enums::DeliveryStatus,
        error::{Problem, ProblemCode, Problems, Result},
        id::{ClientMade, TeamId, WebhookDeliveryId, WebhookId},
    },
    data::{
        db::filter::everything,
        entity::{EventType, webhook, webhook_delivery},
        ledger::deliveries::named_teams,
    },
    domains::{accounts::input::required, api_keys::input::check_grace},
    graphql::{
        filter::{DateTimeFilter, Filtering},
        patch::IdSetPatch,
        scalars::{Cursor, Url},
    },
};

const MAX_NAME: usize = 100;
/// As long as most servers accept.
const MAX_URL: usize = 2000;
/// Teams that one webhook may name.
pub const MAX_TEAMS: usize = 50;

/// A new webhook. Nobody has events sent that they may not read themselves.
#[derive(InputObject, Clone)]
pub struct WebhookCreateInput {
    /// Client-made id, `whk_` and a UUIDv7; made by the server when left out. Repeating a create with the same id and
    /// content returns the first result, without the secret.
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<WebhookId>,
    /// What it is called, 1 to 100 characters.
    pub name: Option<String>,
    /// Where to send to, 2,000 characters at most, without a user name: `https` at a public address, unless the
    /// operator allows more. INVALID otherwise.
    pub url: Url,
    /// Types of events to send, at least one; left out: every type, those of later releases included.
    pub event_types: Option<Vec<EventType>>,
    /// Teams whose events to send, 1 to 50; events without a team are then left out. Left out: all events.
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

/// Changes to a webhook. What is left out stays as it is. Another URL holds for what is waiting, too.
#[derive(InputObject, Clone)]
pub struct WebhookPatch {
    /// What it is called, 1 to 100 characters; null: no name.
    pub name: MaybeUndefined<String>,
    /// Where to send to, 2,000 characters at most, without a user name: `https` at a public address, unless the
    /// operator allows more. INVALID otherwise. Can't be cleared.
    pub url: MaybeUndefined<Url>,
    /// Types of events to send, at least one; null: every type.
    pub event_types: MaybeUndefined<Vec<EventType>>,
    /// Teams whose events to send, 1 to 50; null: all events.
    pub teams: MaybeUndefined<IdSetPatch>,
    /// False pauses: nothing is sent, and later events are not queued. True also enables what the server has disabled.
    /// Can't be cleared.
    pub is_enabled: MaybeUndefined<bool>,
    /// Whether deliveries of one item's events wait for each other. Can't be cleared.
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

/// Which webhook to change, and how.
#[derive(InputObject, Clone)]
pub struct WebhookUpdateInput {
    /// The webhook.
    pub id: WebhookId,
    /// The `version` that was read: CONFLICT, and nothing is written, when it is another by now. Left out: not
    /// checked.
    pub if_version: Option<i32>,
    /// What to change.
    pub patch: WebhookPatch,
}

/// Which webhook gets a new secret.
#[derive(InputObject, Clone)]
pub struct WebhookRotateSecretInput {
    /// The webhook.
    pub id: WebhookId,
    /// Hours that deliveries are signed with the old secret, too, 720 at most; 0 ends it at once.
    #[graphql(default = 24)]
    pub grace_hours: i32,
}

impl WebhookRotateSecretInput {
    pub fn validate(&self) -> Result<()> {
        check_grace(self.grace_hours)
    }
}

/// Which webhook to try.
#[derive(InputObject, Clone)]
pub struct WebhookTestInput {
    /// The webhook, in any state.
    pub id: WebhookId,
}

/// A stretch of the ledger: events after `after` and before `before`, both ledger cursors; at most 10,000 that the
/// webhook wants.
#[derive(InputObject, Clone)]
pub struct WebhookReplayInput {
    /// The webhook, which must be enabled.
    pub id: WebhookId,
    /// Where to begin: a webhook's cursor, an event's, or that of a mutation's payload. CURSOR_EXPIRED when what
    /// follows is no longer kept.
    pub after: Cursor,
    /// Where to stop; left out: at the end.
    pub before: Option<Cursor>,
    /// Of these types alone, at least one; the webhook's own filters hold, too.
    pub event_types: Option<Vec<EventType>>,
}

impl WebhookReplayInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        check_list(&mut problems, &["input", "eventTypes"], self.event_types.as_deref(), usize::MAX);
        problems.finish()
    }
}

/// Which webhook to end. Ending it again is harmless.
#[derive(InputObject, Clone)]
pub struct WebhookDeleteInput {
    /// The webhook.
    pub id: WebhookId,
}

/// Which delivery to try again.
#[derive(InputObject, Clone)]
pub struct WebhookDeliveryRetryInput {
    /// The delivery, of an enabled webhook, tried fewer than 20 times.
    pub id: WebhookDeliveryId,
}

/// Condition on a webhook's delivery; all that is given must hold. Lists have 500 entries at most, and nothing matches
/// an empty one.
#[derive(InputObject, Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// One of these statuses.
    pub statuses: Option<Vec<DeliveryStatus>>,
    /// Of an event of one of these types; a test's `ping` has none.
    pub event_types: Option<Vec<EventType>>,
    /// By when it was queued.
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
