//! What the server knows of a field besides its type and its rule, written on the field: `#[graphql(tag = "…")]`. Clients
//! don't see tags. One that is not known here stops the start.

use async_graphql::registry::MetaField;

use crate::base::error::{Error, Result};

/// It tries a password, an address or a token: one such field a document, so that aliases don't multiply the tries.
pub const THROTTLED: &str = "throttled";
/// A list whose length is kept with its parent: its `totalCount` is cheap.
pub const KEPT_COUNT: &str = "kept-count";
/// It depends on the ledger, on present rows and on permissions alone: the answer of a subscription that selects nothing
/// else may be shared. A test compares what two people see of each such field.
pub const SAME_FOR_ALL: &str = "same-for-all";

/// It depends on the organization's ledger, on people's profiles, on the caller and on the arguments alone, and on no
/// time: while none of these changes, an answer that selects nothing else may be given again.
pub const OF_LEDGER: &str = "of-ledger";

/// Whether a field has a tag.
pub fn has(field: &MetaField, tag: &str) -> bool {
    field.tags.iter().any(|its| its == tag)
}

/// INTERNAL for a tag that nobody asks for.
pub fn verify(field: &MetaField) -> Result<()> {
    match field.tags.iter().find(|tag| ![THROTTLED, KEPT_COUNT, SAME_FOR_ALL, OF_LEDGER].contains(&tag.as_str())) {
        Some(tag) => Err(Error::internal(format!("the field {} has the unknown tag {tag}", field.name))),
        None => Ok(()),
    }
}
