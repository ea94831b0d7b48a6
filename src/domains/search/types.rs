use async_graphql::{Context, Enum, Object};

use crate::{base::error::Result, data::db::search::Searched, domains::Node, graphql::context::ContextExt};

/// Kinds of objects that `search` finds.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchType {
    /// Items, by title and description.
    Item,
    /// Comments, by their text.
    Comment,
}

impl From<SearchType> for Searched {
    fn from(kind: SearchType) -> Self {
        match kind {
            SearchType::Item => Self::Item,
            SearchType::Comment => Self::Comment,
        }
    }
}

/// Something that was found.
#[derive(Clone, Debug)]
pub struct SearchHit {
    pub score: f64,
    pub snippet: String,
    pub node: Node,
}

/// Something that was found.
#[Object]
impl SearchHit {
    /// How well it matches, from 0 to 1: hits are in the order of their scores.
    async fn score(&self) -> f64 {
        self.score
    }

    /// Matching text with `**` around the hits: plain text of 200 characters at most, with `…` where it was cut.
    async fn snippet(&self, ctx: &Context<'_>) -> Result<&str> {
        ctx.text(&self.snippet)
    }

    /// The item or comment.
    async fn node(&self) -> &Node {
        &self.node
    }
}
