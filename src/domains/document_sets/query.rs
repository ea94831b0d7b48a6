//! Lists of document sets, and the documents that requests name.

use sea_orm::{ColumnTrait, ExprTrait as _};
use sha2::{Digest, Sha256};

use crate::{
    base::{error::Result, id::DocumentSetId},
    data::{
        db::{
            OrgScope,
            filter::everything,
            page::{Key, Page, PageArgs, PageStart, Wants},
        },
        entity::{document_set, trusted_document},
    },
};

/// All sets, newest first.
pub async fn document_sets(scope: &OrgScope, args: &PageArgs, wants: Wants) -> Result<Page<document_set::Model>> {
    let start = PageStart::read(args, "documentSets", scope.clock())?;
    let keys = vec![Key::desc(document_set::Column::CreatedAt)];
    start.plan::<document_set::Entity>(everything(), keys, document_set::Column::Id, wants)?.fetch(scope).await
}

/// The document that the organization has under an id: in this set, or in any, of which the oldest comes first.
pub async fn named(scope: &OrgScope, set: Option<DocumentSetId>, id: &str) -> Result<Option<String>> {
    use trusted_document::{Column, Entity};
    // The prefix is the GraphQL-over-HTTP specification's; manifests have the bare hash.
    let ids = [id, id.strip_prefix("sha256:").unwrap_or(id)];
    let mut found = scope.find::<Entity>().filter(Column::DocumentId.is_in(ids));
    if let Some(set) = set {
        found = found.filter(Column::SetId.eq(set));
    }
    Ok(found.order_by_asc(Column::SetId).limit(1).one().await?.map(|document| document.text))
}

/// Whether a set holds a text.
pub async fn holds(scope: &OrgScope, set: DocumentSetId, text: &str) -> Result<bool> {
    use trusted_document::{Column, Entity};
    let same = Column::SetId.eq(set).and(Column::TextHash.eq(hash(text)));
    Ok(!scope.find::<Entity>().filter(same).limit(1).column::<String>(Column::DocumentId).await?.is_empty())
}

/// Of a text, as the table has it.
pub(super) fn hash(text: &str) -> Vec<u8> {
    Sha256::digest(text.as_bytes()).to_vec()
}
