//! Lists of imports.

use crate::{
    base::error::Result,
    data::{
        db::{
            OrgScope,
            filter::everything,
            page::{Key, Page, PageArgs, PageStart, Wants},
        },
        entity::import,
    },
};

/// All imports, newest first.
pub async fn imports(scope: &OrgScope, args: &PageArgs, wants: Wants) -> Result<Page<import::Model>> {
    let start = PageStart::read(args, "imports", scope.clock())?;
    let keys = vec![Key::desc(import::Column::CreatedAt)];
    start.plan::<import::Entity>(everything(), keys, import::Column::Id, wants)?.fetch(scope).await
}
