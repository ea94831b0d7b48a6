//! Many items saved at once, in a number of statements that does not grow with theirs.

use std::collections::BTreeSet;

use super::state::{Counts, ItemState, assignee_links, tag_links};
use crate::{
    base::{
        error::{Error, Result},
        id::ItemId,
    },
    data::{
        db::{WriteTx, changed, filter::among},
        entity::{EventType, Versioned as _, item, item_assignee, item_tag},
    },
};

/// What never changes, and texts.
const KEPT: &[item::Column] = &[
    item::Column::Number,
    item::Column::Title,
    item::Column::TitleKey,
    item::Column::Description,
    item::Column::CreatedByKind,
    item::Column::CreatedById,
    item::Column::CreatedAt,
];

/// An item before and after a change, and what the change is called.
pub struct ItemChange {
    pub r#type: EventType,
    pub before: ItemState,
    pub after: ItemState,
}

/// Saves what differs, raises the versions, and records an event for each; what does not differ is left as it is. Gives
/// each item as it then is, in the order given.
///
/// The rows must be locked in this transaction. Titles and descriptions stay: 500 of them would be megabytes to write, and
/// INTERNAL says where one differs. `counts` says of an item as it was and as it is
/// whether its parent is to count the change: not where the parent moves along with it.
pub async fn save_all(
    tx: &mut WriteTx,
    all: Vec<ItemChange>,
    counts: impl Fn(&item::Model) -> bool,
) -> Result<Vec<ItemState>> {
    let now = tx.scope().clock().now();
    let (mut saved, mut rows) = (Vec::with_capacity(all.len()), Vec::with_capacity(all.len()));
    let (mut links, mut moved) = (Links::default(), Counts::default());
    for ItemChange { r#type, before, mut after } in all {
        let Some(changed) = changed(&before, &after, ItemState::fields)? else {
            saved.push(before);
            continue;
        };
        if (&before.row.title, &before.row.description) != (&after.row.title, &after.row.description) {
            return Err(Error::internal("texts are not saved many at once"));
        }
        after.row.advance(now);
        tx.record(ItemState::event(&after.row, r#type, changed));
        links.add(&before, &after);
        if counts(&after.row) {
            moved.leave(&before.row);
            moved.enter(&after.row);
        }
        rows.push(item::Model { description: None, ..after.row.clone() });
        saved.push(after);
    }
    tx.update_many(rows, KEPT).await?;
    links.write(tx).await?;
    for state in &mut saved {
        let (total, done) = moved.of(state.row.id);
        state.row.subtask_count += total;
        state.row.subtask_done_count += done;
    }
    moved.apply(tx).await?;
    Ok(saved)
}

/// Links that change. Of an item that loses some, all are written again: which it loses may differ from item to item.
#[derive(Default)]
struct Links {
    assignees: Vec<item_assignee::Model>,
    tags: Vec<item_tag::Model>,
    without_assignees: BTreeSet<ItemId>,
    without_tags: BTreeSet<ItemId>,
}

impl Links {
    fn add(&mut self, before: &ItemState, after: &ItemState) {
        let row = &after.row;
        if before.assignees.is_subset(&after.assignees) {
            self.assignees.extend(assignee_links(row, after.assignees.difference(&before.assignees)));
        } else {
            self.without_assignees.insert(row.id);
            self.assignees.extend(assignee_links(row, &after.assignees));
        }
        if before.tags.is_subset(&after.tags) {
            self.tags.extend(tag_links(row, after.tags.difference(&before.tags)));
        } else {
            self.without_tags.insert(row.id);
            self.tags.extend(tag_links(row, &after.tags));
        }
    }

    async fn write(self, tx: &WriteTx) -> Result<()> {
        let db = tx.scope().db();
        if !self.without_assignees.is_empty() {
            let these = among(db, item_assignee::Column::ItemId, self.without_assignees);
            tx.delete_where::<item_assignee::Entity>(these).await?;
        }
        if !self.without_tags.is_empty() {
            let these = among(db, item_tag::Column::ItemId, self.without_tags);
            tx.delete_where::<item_tag::Entity>(these).await?;
        }
        tx.insert_many(self.assignees).await?;
        tx.insert_many(self.tags).await
    }
}
