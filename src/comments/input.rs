use async_graphql::{InputObject, MaybeUndefined};

use crate::{
    accounts::input::required,
    error::{Problems, Result},
    graphql::scalars::Markdown,
    id::{ClientMade, CommentId, ItemId},
};

/// Characters of a comment at most.
pub const MAX_BODY: usize = 20_000;

#[derive(InputObject, Clone)]
pub struct CommentCreateInput {
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<CommentId>,
    pub item_id: ItemId,
    /// The top of the thread it answers.
    pub parent_id: Option<CommentId>,
    pub body: Markdown,
}

impl CommentCreateInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        problems.length(&["input", "body"], &self.body.0, 1, MAX_BODY);
        problems.finish()
    }
}

#[derive(InputObject, Clone)]
pub struct CommentPatch {
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

#[derive(InputObject, Clone)]
pub struct CommentUpdateInput {
    pub id: CommentId,
    pub if_version: Option<i32>,
    pub patch: CommentPatch,
}

#[derive(InputObject, Clone)]
pub struct CommentDeleteInput {
    pub id: CommentId,
}
