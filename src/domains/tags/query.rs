//! Lists of tags.

use super::input::TagFilter;
use crate::{
    base::error::Result,
    data::{
        db::{
            OrgScope,
            filter::everything,
            page::{Key, Page, PageArgs, PageStart, Wants},
        },
        entity::tag,
    },
    graphql::{connection::list_filtered, filter::list_condition},
};

/// Tags by name.
pub async fn tags(
    scope: &OrgScope,
    filter: Option<&TagFilter>,
    args: &PageArgs,
    wants: Wants,
) -> Result<Page<tag::Model>> {
    let mut start = PageStart::read(args, &list_filtered("tags", filter), scope.clock())?;
    let condition = match filter {
        Some(filter) => list_condition(scope, &mut start, |f| filter.condition(f))?,
        None => everything(),
    };
    let keys = vec![Key::asc(tag::Column::NameKey)];
    start.plan::<tag::Entity>(condition, keys, tag::Column::Id, wants)?.fetch(scope).await
}
