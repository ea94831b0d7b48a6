//! The list of an organization's API keys.

use crate::{
    base::error::Result,
    data::{
        db::{
            OrgScope,
            filter::everything,
            page::{Key, Page, PageArgs, PageStart, Wants},
        },
        entity::api_key,
    },
};

/// All keys, revoked ones included, newest first.
pub async fn api_keys(scope: &OrgScope, args: &PageArgs, wants: Wants) -> Result<Page<api_key::Model>> {
    let start = PageStart::read(args, "apiKeys", scope.clock())?;
    let keys = vec![Key::desc(api_key::Column::CreatedAt)];
    start.plan::<api_key::Entity>(everything(), keys, api_key::Column::Id, wants)?.fetch(scope).await
}
