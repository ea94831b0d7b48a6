use async_graphql::InputObject;
use sea_orm::{ColumnTrait, Condition, prelude::Uuid};

use crate::{
    db::filter::everything,
    entity::event,
    error::Result,
    graphql::filter::{DateTimeFilter, Filtering},
    id::{AnyId, ItemId, TeamId},
    ledger::EventType,
};

#[derive(InputObject, Clone, Debug, Default)]
pub struct EventFilter {
    pub types: Option<Vec<EventType>>,
    pub subject_ids: Option<Vec<AnyId>>,
    pub item_ids: Option<Vec<ItemId>>,
    pub team_ids: Option<Vec<TeamId>>,
    pub actor_ids: Option<Vec<AnyId>>,
    /// Leave out the caller's own.
    pub exclude_viewer: Option<bool>,
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
            f.spend_list(ids)?;
            all = all.add(Column::ItemId.is_in(ids.iter().copied()));
        }
        if let Some(ids) = team_ids {
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
}
