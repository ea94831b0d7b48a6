use async_graphql::{ComplexObject, Context, OutputType as _, SimpleObject};
use serde_json::Value as Json;

use super::service::{Bulk, BulkOutcome};
use crate::{
    base::{
        error::Result,
        id::{AnyId, ItemId},
    },
    data::entity::item,
    domains::items::types::Item,
    graphql::{
        context::ContextExt as _,
        error::UserError,
        guard,
        loaders::Rows,
        payload::{Common, Outcome, payload_fields},
    },
};

/// What became of one item of a bulk mutation.
#[derive(SimpleObject)]
#[graphql(complex)]
pub struct ItemBulkResult {
    /// Its place in the input; of items that a filter found, in the order of their ids.
    index: i32,
    /// The item's id; null for one that was not created.
    id: Option<ItemId>,
    /// Empty when it succeeded. Where another of an ATOMIC mutation failed, it is empty too, and nothing was written.
    user_errors: Vec<UserError>,
    #[graphql(skip)]
    row: Option<item::Model>,
}

#[ComplexObject]
impl ItemBulkResult {
    /// The item as the mutation left it; null on failure, and where the caller may not read it.
    async fn item(&self, ctx: &Context<'_>) -> Option<Item> {
        self.row.clone().filter(|_| guard::may_see(ctx, &Item::type_name())).map(Item::from)
    }
}

/// What became of a bulk mutation of items.
#[derive(SimpleObject)]
#[graphql(complex)]
pub struct ItemBulkPayload {
    /// One for each item, in input order; empty when the input as a whole was refused.
    results: Vec<ItemBulkResult>,
    /// Items that were written, or were so already.
    succeeded: i32,
    /// Items that were not.
    failed: i32,
    #[graphql(skip)]
    common: Common,
}

payload_fields!(ItemBulkPayload);

impl Outcome for ItemBulkPayload {
    type Object = Bulk;

    fn new(bulk: Option<Bulk>, common: Common) -> Self {
        let outcomes = bulk.map(|bulk| bulk.outcomes).unwrap_or_default();
        let is_refused = !common.user_errors.is_empty();
        let succeeded = outcomes.iter().filter(|outcome| !is_refused && outcome.problems.is_empty()).count();
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let result = |(index, outcome): (usize, BulkOutcome)| ItemBulkResult {
            index: number(index),
            id: outcome.id,
            user_errors: outcome.problems.into_iter().map(UserError::from).collect(),
            row: outcome.row.filter(|_| !is_refused),
        };
        let failed = number(outcomes.len() - succeeded);
        let results = outcomes.into_iter().enumerate().map(result).collect();
        Self { results, succeeded: number(succeeded), failed, common }
    }

    async fn find_again(_: &Context<'_>, _: AnyId) -> Result<Option<Bulk>> {
        Ok(None)
    }

    async fn find_all_again(ctx: &Context<'_>, outcomes: Json) -> Result<Option<Bulk>> {
        let mut bulk = Bulk::of_record(outcomes)?;
        let ids: Vec<ItemId> = bulk.outcomes.iter().filter_map(|outcome| outcome.id).collect();
        let mut rows = ctx.loader::<Rows<item::Entity>>()?.load_many(ids).await?;
        for outcome in &mut bulk.outcomes {
            outcome.row = outcome.id.filter(|_| outcome.problems.is_empty()).and_then(|id| rows.remove(&id));
        }
        Ok(Some(bulk))
    }
}
