//! What is found, and in which order.

use std::{cmp::Reverse, collections::HashMap};

use async_graphql::Context;
use sea_orm::{ColumnTrait as _, Condition};
use uuid::Uuid;

use super::{
    rank,
    snippet::snippet,
    types::{SearchHit, SearchType},
};
use crate::{
    base::{
        error::{Refusal, Result},
        id::{CommentId, ItemId},
    },
    data::{
        db::{
            OrgScope,
            filter::{among, everything},
            search::{MAX_HITS, Searched, Terms},
        },
        entity::{comment, item},
    },
    domains::{
        Node,
        comments::types::Comment,
        items::{input::ItemFilter, query::number_of, types::Item},
    },
    graphql::{context::ContextExt, filter::Filtering},
};

/// The arguments of a search.
pub struct Search {
    pub query: String,
    pub types: Option<Vec<SearchType>>,
    pub filter: Option<Box<ItemFilter>>,
    pub first: i32,
}

/// What was found of a kind, with its score.
#[derive(Clone, Copy)]
enum Found {
    Item(ItemId),
    Comment(CommentId),
}

pub async fn search(ctx: &Context<'_>, search: &Search) -> Result<Vec<SearchHit>> {
    let scope = ctx.scope()?;
    let first = match u64::try_from(search.first) {
        Ok(first @ 0..=MAX_HITS) => first,
        _ => return Err(Refusal::bad_request(format!("A search has 0 to {MAX_HITS} hits.")).into()),
    };
    let terms = Terms::parse(&search.query)?;
    let which = match &search.filter {
        Some(filter) => filter.condition(&mut Filtering::new(scope, scope.clock().now()))?,
        None => everything(),
    };
    let Some(terms) = terms.filter(|_| first > 0) else { return Ok(Vec::new()) };
    let kinds: Vec<Searched> = [SearchType::Item, SearchType::Comment]
        .into_iter()
        .filter(|kind| search.types.as_ref().is_none_or(|types| types.contains(kind)))
        .map(Searched::from)
        .collect();
    let wanted = terms.folded();
    let mut found = Vec::new();
    if kinds.contains(&Searched::Item)
        && let Some(named) = named(scope, &search.query, &which).await?
    {
        found.push((Found::Item(named), rank::NAMED));
    }
    found.extend(ranked(scope, &terms, &wanted, &kinds, &which, first).await?);
    if let [(Found::Item(named), _), others @ ..] = found.as_slice()
        && let Some(again) = others.iter().position(|(found, _)| matches!(found, Found::Item(id) if id == named))
    {
        found.remove(again + 1);
    }
    found.truncate(usize::try_from(first).unwrap_or(usize::MAX));
    load(scope, found, &wanted).await
}

/// The item that the query names, by its identifier or its number alone.
async fn named(scope: &OrgScope, query: &str, which: &Condition) -> Result<Option<ItemId>> {
    let query = query.trim();
    let bare = query.strip_prefix('#').unwrap_or(query);
    let is_number = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_number { bare.parse().ok() } else { number_of(scope, query) };
    let Some(number) = number else { return Ok(None) };
    let number: i64 = number;
    let item = scope
        .find::<item::Entity>()
        .filter(item::Column::Number.eq(number))
        .filter(item::Column::DeletedAt.is_null())
        .filter(which.clone())
        .one()
        .await?;
    Ok(item.map(|item| item.id))
}

/// The best `first` of what has the words; of equals the newest.
async fn ranked(
    scope: &OrgScope,
    terms: &Terms,
    wanted: &[(String, bool)],
    kinds: &[Searched],
    which: &Condition,
    first: u64,
) -> Result<Vec<(Found, f64)>> {
    let mut scored: Vec<_> = scope
        .search(terms, kinds, which, first)
        .await?
        .into_iter()
        .map(|candidate| {
            let (found, score) = if candidate.is_comment {
                (Found::Comment(CommentId::from_uuid(candidate.id)), rank::SOMEWHERE)
            } else {
                (Found::Item(ItemId::from_uuid(candidate.id)), rank::score(wanted, &candidate.title))
            };
            (score, candidate.created_at, candidate.id, found)
        })
        .collect();
    scored.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then_with(|| Reverse((a.1, a.2)).cmp(&Reverse((b.1, b.2)))));
    Ok(scored.into_iter().map(|(score, _, _, found)| (found, score)).take(first as usize + 1).collect())
}

/// Rows of what was found, one statement for each kind. What went meanwhile is left out.
async fn load(scope: &OrgScope, found: Vec<(Found, f64)>, wanted: &[(String, bool)]) -> Result<Vec<SearchHit>> {
    let ids = |of: fn(&Found) -> Option<Uuid>| found.iter().filter_map(|(found, _)| of(found)).collect::<Vec<_>>();
    let items = ids(|found| if let Found::Item(id) = found { Some(id.uuid()) } else { None });
    let comments = ids(|found| if let Found::Comment(id) = found { Some(id.uuid()) } else { None });
    let mut rows: HashMap<Uuid, item::Model> = HashMap::new();
    if !items.is_empty() {
        let these = among(scope.db(), item::Column::Id, items.into_iter().map(ItemId::from_uuid));
        rows.extend(
            scope.find::<item::Entity>().filter(these).all().await?.into_iter().map(|row| (row.id.uuid(), row)),
        );
    }
    let mut said: HashMap<Uuid, comment::Model> = HashMap::new();
    if !comments.is_empty() {
        let these = among(scope.db(), comment::Column::Id, comments.into_iter().map(CommentId::from_uuid));
        said.extend(
            scope.find::<comment::Entity>().filter(these).all().await?.into_iter().map(|row| (row.id.uuid(), row)),
        );
    }
    let hit = |(found, score)| {
        let (snippet, node) = match found {
            Found::Item(id) => {
                let row = rows.remove(&id.uuid())?;
                let texts = [Some(row.title.as_str()), row.description.as_deref()];
                (snippet(wanted, texts.into_iter().flatten()), Node::Item(Item::from(row)))
            }
            Found::Comment(id) => {
                let row = said.remove(&id.uuid())?;
                (snippet(wanted, [row.body.as_str()]), Node::Comment(Comment::from(row)))
            }
        };
        Some(SearchHit { score, snippet, node })
    };
    Ok(found.into_iter().filter_map(hit).collect())
}
