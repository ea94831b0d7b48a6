//! The ledger: one [`Event`](crate::data::entity::event) a change, written in the change's own transaction, in gapless order
//! within an organization. Activity feed, audit, sync, subscriptions and webhooks are views of it.
//!
//! To add an event type: one variant of [`EventType`](crate::data::entity::EventType); the service that makes the change records it.

mod bus;
mod cursor;
pub mod deliveries;
mod pending;
pub mod retention;

pub use bus::{Announcements, Bus, KnownHead, Source};
pub use cursor::LedgerCursor;
pub use pending::{PendingEvents, Written};

use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    base::id::{AnyId, ItemId, TeamId},
    data::entity::EventType,
};

/// Before and after of one field, by its API name.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct Change {
    pub field: String,
    pub before: Json,
    pub after: Json,
}

impl Change {
    /// An item's team.
    pub const TEAM: &str = "teamId";
}

/// The fields of an object as its events show them, by API name, in a fixed order.
pub type Fields = Vec<(&'static str, Json)>;

/// What differs between two states of one object; for a creation all that is set, for a deletion all that was.
pub fn changes(before: Option<&Fields>, after: Option<&Fields>) -> Vec<Change> {
    let names = after.or(before).into_iter().flatten().map(|(name, _)| *name);
    let value = |fields: Option<&Fields>, name: &str| {
        fields.and_then(|fields| fields.iter().find(|(field, _)| *field == name)).map_or(Json::Null, |(_, v)| v.clone())
    };
    names
        .map(|name| Change { field: name.to_owned(), before: value(before, name), after: value(after, name) })
        .filter(|change| change.before != change.after)
        .collect()
}

/// An event to be recorded; sequence, time, actor and origin are added when the transaction commits.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub r#type: EventType,
    pub subject: AnyId,
    pub item_id: Option<ItemId>,
    pub team_id: Option<TeamId>,
    pub changes: Vec<Change>,
}

impl NewEvent {
    pub fn new(r#type: EventType, subject: AnyId, changes: Vec<Change>) -> Self {
        Self { r#type, subject, item_id: None, team_id: None, changes }
    }

    /// The item it belongs to, and that item's team: what feeds and webhooks filter by.
    #[must_use]
    pub fn of_item(mut self, item_id: ItemId, team_id: Option<TeamId>) -> Self {
        self.item_id = Some(item_id);
        self.team_id = team_id;
        self
    }

    #[must_use]
    pub fn of_team(mut self, team_id: TeamId) -> Self {
        self.team_id = Some(team_id);
        self
    }
}
