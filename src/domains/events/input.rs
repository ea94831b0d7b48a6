use async_graphql::InputObject;
use sea_orm::{ColumnTrait, Condition, prelude::Uuid};

use crate::{
    base::{
        clock::Instant,
        error::Result,
        id::{AnyId, ItemId, TeamId},
        policy::Permission,
    },
    data::{
        db::filter::everything,
        entity::{ActorRef, EventType, event},
    },
    graphql::filter::{DateTimeFilter, Filtering},
};

/// Condition on an event; all that is given must hold. Lists have 500 entries at most, and nothing matches an empty
/// one.
#[derive(InputObject, Clone, Debug, Default)]
pub struct EventFilter {
    /// Of one of these types.
    pub types: Option<Vec<EventType>>,
    /// About one of these objects.
    pub subject_ids: Option<Vec<AnyId>>,
    /// About one of these items, or a comment on it. Needs ITEM_READ.
    pub item_ids: Option<Vec<ItemId>>,
    /// About one of these teams, or an item that was in it then. Needs ITEM_READ.
    pub team_ids: Option<Vec<TeamId>>,
    /// Done by one of these: people, API keys, inbound hooks.
    pub actor_ids: Option<Vec<AnyId>>,
    /// True leaves out what the caller did.
    pub exclude_viewer: Option<bool>,
    /// By when it happened.
    pub occurred_at: Option<DateTimeFilter>,
}

impl EventFilter {
    pub fn condition(&self, f: &mut Filtering<'_>) -> Result<Condition> {
        use event::Column;
        let Self { types, subject_ids, item_ids, team_ids, actor_ids, exclude_viewer, occurred_at } = self;
        let uuids = |ids: &[AnyId]| ids.iter().map(|id| id.uuid()).collect::<Vec<Uuid>>();
        let mut all = everything();
        if let Some(types) = types {
            f.spend_list(types)?;
            all = all.add(Column::Type.is_in(types.iter().copied()));
        }
        if let Some(ids) = subject_ids {
            f.spend_list(ids)?;
            all = all.add(Column::SubjectId.is_in(uuids(ids)));
        }
        if let Some(ids) = item_ids {
            f.needs(Permission::ItemRead, "items")?;
            f.spend_list(ids)?;
            all = all.add(Column::ItemId.is_in(ids.iter().copied()));
        }
        if let Some(ids) = team_ids {
            f.needs(Permission::ItemRead, "teams")?;
            f.spend_list(ids)?;
            all = all.add(Column::TeamId.is_in(ids.iter().copied()));
        }
        if let Some(ids) = actor_ids {
            f.spend_list(ids)?;
            all = all.add(Column::ActorId.is_in(uuids(ids)));
        }
        if *exclude_viewer == Some(true) {
            f.spend()?;
            all = all.add(Column::ActorId.ne(f.scope.actor().id));
        }
        if let Some(when) = occurred_at {
            all = all.add(when.condition(f, Column::OccurredAt)?);
        }
        Ok(all)
    }

    /// [`Self::condition`] of an event at hand: live, nobody asks the database.
    pub fn matches(&self, event: &event::Model, viewer: ActorRef, now: Instant) -> bool {
        let Self { types, subject_ids, item_ids, team_ids, actor_ids, exclude_viewer, occurred_at } = self;
        /// Whether a list that is there has the value.
        fn among<T: PartialEq>(list: Option<&Vec<T>>, value: Option<T>) -> bool {
            list.is_none_or(|list| value.is_some_and(|value| list.contains(&value)))
        }
        let named = |ids: &Option<Vec<AnyId>>, id: Uuid| {
            ids.as_ref().is_none_or(|ids| ids.iter().any(|named| named.uuid() == id))
        };
        among(types.as_ref(), Some(event.r#type))
            && named(subject_ids, event.subject_id)
            && among(item_ids.as_ref(), event.item_id)
            && among(team_ids.as_ref(), event.team_id)
            && named(actor_ids, event.actor_id)
            && (*exclude_viewer != Some(true) || event.actor_id != viewer.id)
            && occurred_at.as_ref().is_none_or(|when| when.matches(event.occurred_at, now))
    }
}
