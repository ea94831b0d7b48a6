use async_graphql::{InputObject, MaybeUndefined};

use crate::{
    base::{
        error::{Problems, Result},
        id::{ClientMade, CommentId, ItemId},
    },
    domains::accounts::input::required,
    graphql::scalars::Markdown,
};

/// Characters of a comment at most.
pub const MAX_BODY: usize = 20_000;

/// A new comment, or a reply.
#[derive(InputObject, Clone)]
pub struct CommentCreateInput {
    /// Client-made id, `cmt_` and a UUIDv7; made by the server when left out. Repeating a create with the same id and
    /// content returns the first result.
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<CommentId>,
    /// The item it is about, outside the trash.
    pub item_id: ItemId,
    /// The comment it answers, at the top of its thread and on the same item; left out: it begins a thread.
    pub parent_id: Option<CommentId>,
    /// Its text, 1 to 20,000 characters.
    pub body: Markdown,
}

impl CommentCreateInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        problems.length(&["input", "body"], &self.body.0, 1, MAX_BODY);
        problems.finish()
    }
}

/// Changes to a comment. What is left out stays as it is.
#[derive(InputObject, Clone)]
pub struct CommentPatch {
    /// Its text, 1 to 20,000 characters. Can't be cleared.
    pub body: MaybeUndefined<Markdown>,
}

impl CommentPatch {
    pub fn validate(&self) -> Result<()> {
        let Self { body } = self;
        let mut problems = Problems::default();
        required(&mut problems, &["input", "patch", "body"], body);
        if let MaybeUndefined::Value(text) = body {
            problems.length(&["input", "patch", "body"], &text.0, 1, MAX_BODY);
        }
        problems.finish()
    }

    /// The new body, when the patch has one.
    pub fn body(&self) -> Option<&str> {
        self.body.value().map(|text| text.0.as_str())
    }
}

/// Which comment to change, and how.
#[derive(InputObject, Clone)]
pub struct CommentUpdateInput {
    /// The comment.
    pub id: CommentId,
    /// The `version` that was read: CONFLICT, and nothing is written, when it is another by now. Left out: not
    /// checked.
    pub if_version: Option<i32>,
    /// What to change.
    pub patch: CommentPatch,
}

/// Which comment to delete, with its replies. Deleting it again is harmless.
#[derive(InputObject, Clone)]
pub struct CommentDeleteInput {
    /// The comment.
    pub id: CommentId,
}
