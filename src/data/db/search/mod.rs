//! Full-text search: which items and comments have the words of a query, by the documents that the database keeps beside
//! them (`m20261127_000034_search`). PostgreSQL's are found by a GIN index, SQLite's by FTS5.

mod fill;
mod newest;
mod terms;

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait as _, DatabaseBackend, FromQueryResult, Order,
    prelude::{Expr, Uuid},
    sea_query::{Alias, ExprTrait as _, JoinType, Query, SelectStatement, SimpleExpr, UnionType},
};

pub use fill::SearchFill;
pub use terms::{MAX_QUERY, MAX_WORDS, Terms};

use super::{OrgScope, fail};
use crate::{
    base::{clock::Instant, error::Result, id::OrganizationId},
    data::entity::{comment, item},
};

/// Hits of a search at most.
pub const MAX_HITS: u64 = 50;
/// Items of which the best are chosen: the newest of those that match.
const MAX_RANKED: u64 = 1000;
/// Words of SQLite's index that a word which goes on may stand for, one by one; for more it is looked up as a whole, which
/// reads all of their places.
const MAX_WORDS_ALIKE: u32 = 100;
/// The longest beginning of words that SQLite's index knows by itself.
const INDEXED_PREFIX: usize = 4;

/// What has a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Searched {
    Item,
    Comment,
}

impl Searched {
    /// The number that it has in the database.
    const fn number(self) -> i16 {
        match self {
            Self::Item => 0,
            Self::Comment => 1,
        }
    }
}

/// Something that matches, with what it is ranked by.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub is_comment: bool,
    pub id: Uuid,
    /// Of an item; empty for a comment.
    pub title: String,
    pub created_at: Instant,
}

#[derive(FromQueryResult)]
struct Row {
    kind: i32,
    id: Uuid,
    title: String,
    created_at: Instant,
}

impl From<Row> for Candidate {
    fn from(Row { kind, id, title, created_at }: Row) -> Self {
        Self { is_comment: kind == i32::from(Searched::Comment.number()), id, title, created_at }
    }
}

impl OrgScope {
    /// What matches: of items the newest 1,000 (in an organization that has more than 10,000 those of the newest 10,000, or the
    /// newest 200 matches), of comments the newest `comments`. None of the trash; `which` is a condition on the item, or on the
    /// comment's. One statement on SQLite, one to four on PostgreSQL.
    pub async fn search(
        &self,
        terms: &Terms,
        kinds: &[Searched],
        which: &Condition,
        comments: u64,
    ) -> Result<Vec<Candidate>> {
        let wanted = kinds.iter().map(|kind| (*kind, if *kind == Searched::Item { MAX_RANKED } else { comments }));
        if self.db().backend() != DatabaseBackend::Sqlite {
            return newest::newest(self, terms, which, wanted).await;
        }
        let parts = wanted.map(|(kind, limit)| self.newest_of_index(terms, kind, which.clone(), limit)).collect();
        let Some(all) = union(parts) else { return Ok(Vec::new()) };
        let rows = self.db().reader().query_all(&all).await.map_err(fail)?;
        rows.iter().map(|row| Ok(Row::from_query_result(row, "").map_err(fail)?.into())).collect()
    }

    /// Ids of items with these words, in the trash or not, for `IN (…)`.
    pub fn items_with(&self, terms: &Terms) -> SelectStatement {
        let mut select = self.documents(terms, Searched::Item);
        select.column(document("subject_id")).take()
    }

    /// The newest of the matches of SQLite's index, which gives them in this order. The planner keeps to the order of a
    /// cross join: from the newest match on, as far as is needed.
    fn newest_of_index(&self, terms: &Terms, kind: Searched, which: Condition, limit: u64) -> SelectStatement {
        let mut select = self.documents(terms, kind);
        self.with_subjects(&mut select, kind, which);
        select.order_by((Alias::new("words"), Alias::new("rowid")), Order::Desc).limit(limit).take()
    }

    /// Joins SQLite's documents with what they are of, outside the trash, and takes the columns of a [`Row`].
    fn with_subjects(&self, documents: &mut SelectStatement, kind: Searched, which: Condition) {
        let of = |column: &'static str| Expr::col(document(column));
        documents
            .expr_as(Expr::val(i32::from(kind.number())), "kind")
            .cross_join(item::Entity)
            .and_where(of("item_id").equals((item::Entity, item::Column::Id)))
            .and_where(item::Column::OrganizationId.eq(self.organization_id()))
            .and_where(item::Column::DeletedAt.is_null())
            .cond_where(which);
        match kind {
            Searched::Item => documents
                .columns([item::Column::Id, item::Column::Title, item::Column::CreatedAt].map(|it| (item::Entity, it))),
            Searched::Comment => documents
                .cross_join(comment::Entity)
                .and_where(of("subject_id").equals((comment::Entity, comment::Column::Id)))
                .and_where(comment::Column::OrganizationId.eq(self.organization_id()))
                .column((comment::Entity, comment::Column::Id))
                .expr_as(Expr::val(""), "title")
                .column((comment::Entity, comment::Column::CreatedAt)),
        };
    }

    /// The organization's documents of a kind that match, without a column yet.
    fn documents(&self, terms: &Terms, kind: Searched) -> SelectStatement {
        let mut select = Query::select();
        let own = Expr::col(document("organization_id")).eq(self.organization_id());
        match self.db().backend() {
            DatabaseBackend::Sqlite => select
                .from_as("search_text", "words")
                .join_as(JoinType::CrossJoin, "search_document", "document", Condition::all())
                .and_where(Expr::col(document("id")).equals(("words", "rowid")))
                .and_where(match_words(terms))
                .and_where(of_tenant(self.organization_id(), kind)),
            _ => {
                let within = format!("@{}{}", self.organization_id().uuid().simple(), kind.number());
                let matches = "document.vector @@ search_fold($1)::tsquery";
                select
                    .from_as("search_document", "document")
                    .and_where(is_of(kind))
                    .and_where(Expr::cust_with_values(matches, [terms.to_tsquery(&within)]))
            }
        };
        select.and_where(own).take()
    }
}

/// All of several selects, each as a subquery: it may have an order and a limit of its own.
fn union(parts: Vec<SelectStatement>) -> Option<SelectStatement> {
    let columns = || ["kind", "id", "title", "created_at"].map(Alias::new);
    let mut parts = parts.into_iter().map(|part| Query::select().columns(columns()).from_subquery(part, "part").take());
    let first = parts.next()?;
    Some(parts.fold(first, |mut all, part| all.union(UnionType::All, part).take()))
}

/// Written out, not bound: the kind says which of PostgreSQL's indexes holds its documents.
fn is_of(kind: Searched) -> SimpleExpr {
    Expr::col(document("kind")).eq(SimpleExpr::Constant(kind.number().into()))
}

fn document(column: &'static str) -> (Alias, Alias) {
    (Alias::new("document"), Alias::new(column))
}

/// Ids of a tenant's documents of a kind are a range.
fn of_tenant(organization_id: OrganizationId, kind: Searched) -> SimpleExpr {
    let range = "words.rowid >= ((SELECT number FROM search_tenant WHERE organization_id = ?) * 2 + ?) << 40 \
                 AND words.rowid < ((SELECT number FROM search_tenant WHERE organization_id = ?) * 2 + ?) << 40";
    let (id, number) = (organization_id.uuid(), kind.number());
    Expr::cust_with_values::<_, sea_orm::Value, _>(range, [id.into(), number.into(), id.into(), (number + 1).into()])
}

/// What FTS5 is asked for. A word that goes on, and is longer than the beginnings in the index, is replaced by the words
/// that begin so: as a prefix it would be looked up everywhere before the first match is had, other tenants' included.
fn match_words(terms: &Terms) -> SimpleExpr {
    let parts = terms.to_match();
    let prefix = terms.open_word().map(migration::words::fold_word);
    // Beyond ASCII the index may fold otherwise.
    let Some(prefix) = prefix.filter(|prefix| prefix.is_ascii() && prefix.len() > INDEXED_PREFIX) else {
        return Expr::cust_with_values("words.search_text MATCH ?", [parts.whole]);
    };
    let sql = format!(
        "words.search_text MATCH (SELECT CASE WHEN count(*) BETWEEN 1 AND {MAX_WORDS_ALIKE} \
         THEN ? || '(' || group_concat('\"' || ? || alike.word || '\"', ' OR ') || ')' ELSE ? END FROM \
         (WITH RECURSIVE alike (word) AS (\
         SELECT (SELECT term FROM search_word WHERE term >= ? ORDER BY term LIMIT 1) UNION ALL \
         SELECT (SELECT term FROM search_word WHERE term >= alike.word || char(1) ORDER BY term LIMIT 1) \
         FROM alike WHERE alike.word < ? LIMIT {}) \
         SELECT word FROM alike WHERE word >= ? AND word < ?) alike)",
        MAX_WORDS_ALIKE + 2
    );
    let end = format!("{prefix}\u{10ffff}");
    let values = [parts.head, parts.lead, parts.whole, prefix.clone(), end.clone(), prefix, end];
    Expr::cust_with_values(sql, values)
}
