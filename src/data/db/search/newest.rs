//! The newest matches on PostgreSQL, whose index has no order: of a word that is everywhere it would give all matches to be
//! sorted. So the newest documents are looked at one by one first. How many of them match tells whether to go on like
//! this, or whether the words are so rare that the index has little to give.

use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait as _, FromQueryResult as _, Order,
    prelude::{Expr, Uuid},
    sea_query::{ExprTrait as _, Func, JoinType, Query, SelectStatement, SimpleExpr},
};

use super::{Candidate, Row, Searched, Terms, document, is_of, union};
use crate::{
    base::error::Result,
    data::{
        db::{OrgScope, fail},
        entity::{comment, item},
    },
};

/// Documents of a kind that are looked at first: they tell how frequent the words are.
const FIRST: u64 = 1000;
/// Documents of a kind of which all that match are ranked, as they are in an organization that has no more: a search costs
/// a large one no more then.
const RANKED_OF: u64 = 10_000;
/// Those of them that are not looked at first.
const REST: u64 = RANKED_OF - FIRST;
/// Matches that do where so many documents have fewer than can be ranked.
const ENOUGH: u64 = 200;
/// Documents of a kind that are looked at one by one at most after those, for the sake of [`ENOUGH`] matches. So many take
/// about 50 ms, of a million documents a tenth of what as many matches of the index take, which lie apart.
const MORE: u64 = 50_000;
/// Added to the number of a kind, for the row that tells the oldest document looked at.
const EDGE: i32 = 10;

/// What is still to be found of a kind.
#[derive(Clone, Copy)]
struct Search {
    kind: Searched,
    /// Matches at most.
    wanted: u64,
    /// Matches that do: with fewer it goes on.
    enough: u64,
    /// Matches of documents older than this.
    before: Option<Uuid>,
    way: Way,
}

#[derive(Clone, Copy)]
enum Way {
    /// The first documents, and then it is known how frequent the words are.
    First,
    /// So many more documents, of which all that match are ranked, or as many as should hold what is wanted.
    More(u64),
    /// The same, for the last time.
    Most(u64),
    Index,
}

impl Way {
    /// How many documents are looked at one by one.
    const fn documents(self) -> Option<u64> {
        match self {
            Self::First => Some(FIRST),
            Self::More(documents) | Self::Most(documents) => Some(documents),
            Self::Index => None,
        }
    }
}

pub(super) async fn newest(
    scope: &OrgScope,
    terms: &Terms,
    which: &Condition,
    wanted: impl Iterator<Item = (Searched, u64)>,
) -> Result<Vec<Candidate>> {
    let mut searches: Vec<Search> = wanted.map(|(kind, wanted)| Search::new(kind, wanted)).collect();
    let mut found: Vec<Row> = Vec::new();
    // Four times at most: each way leads to a later one.
    while let Some(all) = union(searches.iter().flat_map(|search| search.statements(scope, terms, which)).collect()) {
        let rows = scope.db().reader().query_all(&all).await.map_err(fail)?;
        let rows: Result<Vec<Row>> = rows.iter().map(|row| Row::from_query_result(row, "").map_err(fail)).collect();
        let mut rows = rows?;
        let mut rest = Vec::new();
        for search in searches {
            let number = i32::from(search.kind.number());
            let edge = rows.iter().find(|row| row.kind == EDGE + number).map(|edge| edge.id);
            let before = found.len();
            found.extend(rows.extract_if(.., |row| row.kind == number));
            rest.extend(search.next((found.len() - before) as u64, edge));
        }
        searches = rest;
    }
    Ok(found.into_iter().map(Candidate::from).collect())
}

impl Search {
    fn new(kind: Searched, wanted: u64) -> Self {
        Self { kind, wanted, enough: Ord::min(wanted, ENOUGH), before: None, way: Way::First }
    }

    /// What is to be done after so many matches; `edge`: the oldest document looked at, `None` where there are no more.
    fn next(self, matches: u64, edge: Option<Uuid>) -> Option<Self> {
        let looked_at = self.way.documents()?;
        let (wanted, enough) = (self.wanted.saturating_sub(matches), self.enough.saturating_sub(matches));
        let documents = (enough * looked_at).checked_div(matches).unwrap_or(u64::MAX);
        // Words are not spread evenly.
        let ample = documents.saturating_mul(2);
        let way = match self.way {
            _ if wanted == 0 => return None,
            Way::First if documents <= REST && wanted > enough => Way::More(REST),
            _ if enough == 0 => return None,
            Way::First if documents <= REST => Way::More(ample.clamp(FIRST, REST)),
            Way::First | Way::More(_) if documents <= MORE => Way::Most(Ord::min(ample, MORE)),
            _ => Way::Index,
        };
        // Where many were looked at, no more are ranked than it takes.
        let wanted = if matches!(way, Way::Most(_)) { enough } else { wanted };
        Some(Self { wanted, enough, before: Some(edge?), way, ..self })
    }

    fn statements(&self, scope: &OrgScope, terms: &Terms, which: &Condition) -> Vec<SelectStatement> {
        let within = format!("@{}{}", scope.organization_id().uuid().simple(), self.kind.number());
        // As a subquery it is made once, and not taken for frequent or rare by the planner, which counts words apart from
        // each other and over all tenants.
        let matches = "document.vector @@ (SELECT search_fold($1)::tsquery)";
        let matches = Expr::cust_with_values(matches, [terms.to_tsquery(&within)]);
        let mut documents = Query::select()
            .columns(["subject_id", "item_id", "vector"].map(document))
            .from_as("search_document", "document")
            .and_where(self.own(scope))
            .take();
        let oldest = self.way.documents().map(|documents| self.nth(scope, documents));
        match (self.way, &oldest) {
            // OFFSET keeps the planner from asking the index for the words.
            (Way::More(_) | Way::Most(_), Some(oldest)) => {
                // By their bounds, not by order and limit: those the planner may see to by sorting all documents.
                let nothing = Expr::val(Uuid::nil());
                let bound = Func::coalesce([SimpleExpr::SubQuery(None, Box::new(oldest.clone().into())), nothing]);
                documents.and_where(Expr::col(document("subject_id")).gte(bound)).offset(0)
            }
            // OFFSET keeps the planner from going through all documents in their order for the sake of the outer limit.
            (Way::Index, _) => documents.and_where(matches.clone()).offset(0),
            // As few of them as have what is wanted.
            _ => documents.order_by(document("subject_id"), Order::Desc).limit(FIRST),
        };
        let mut select = Query::select();
        select.from_subquery(documents, "document");
        if oldest.is_some() {
            select.and_where(matches);
        }
        self.with_subjects(&mut select, scope, which.clone());
        let newest = select.order_by(document("subject_id"), Order::Desc).limit(self.wanted).take();
        let edge = oldest.map(|mut oldest| {
            oldest
                .clear_selects()
                .expr_as(Expr::val(EDGE + i32::from(self.kind.number())), "kind")
                .expr_as(Expr::col(document("subject_id")), "id")
                .expr_as(Expr::val(""), "title")
                .expr_as(Expr::current_timestamp(), "created_at")
                .take()
        });
        std::iter::once(newest).chain(edge).collect()
    }

    /// Joins documents with what they are of, outside the trash, and takes the columns of a [`Row`]. Each is looked up by its
    /// own subquery, whose LIMIT the planner can't see through: without statistics it may take items for fewer than documents,
    /// and go through the documents once for each item.
    fn with_subjects(&self, documents: &mut SelectStatement, scope: &OrgScope, which: Condition) {
        let of = |column: &'static str| Expr::col(document(column));
        let item = Query::select()
            .columns([item::Column::Id, item::Column::Title, item::Column::CreatedAt])
            .from(item::Entity)
            .and_where(item::Column::OrganizationId.eq(scope.organization_id()))
            .and_where(of("item_id").equals((item::Entity, item::Column::Id)))
            .and_where(item::Column::DeletedAt.is_null())
            .cond_where(which)
            .limit(1)
            .take();
        documents.expr_as(Expr::val(i32::from(self.kind.number())), "kind").join_lateral(
            JoinType::InnerJoin,
            item,
            "subject",
            Condition::all(),
        );
        if self.kind == Searched::Item {
            documents.columns(["id", "title", "created_at"].map(|column| ("subject", column)));
            return;
        }
        let comment = Query::select()
            .columns([comment::Column::Id, comment::Column::CreatedAt])
            .from(comment::Entity)
            .and_where(comment::Column::OrganizationId.eq(scope.organization_id()))
            .and_where(of("subject_id").equals((comment::Entity, comment::Column::Id)))
            .limit(1)
            .take();
        documents
            .join_lateral(JoinType::InnerJoin, comment, "said", Condition::all())
            .column(("said", "id"))
            .expr_as(Expr::val(""), "title")
            .column(("said", "created_at"));
    }

    /// The id that so many of the newest documents go to, matching or not; none where there are not so many.
    fn nth(&self, scope: &OrgScope, documents: u64) -> SelectStatement {
        Query::select()
            .column(document("subject_id"))
            .from_as("search_document", "document")
            .and_where(self.own(scope))
            .order_by(document("subject_id"), Order::Desc)
            .limit(1)
            .offset(documents - 1)
            .take()
    }

    fn own(&self, scope: &OrgScope) -> SimpleExpr {
        let of = |column: &'static str| Expr::col(document(column));
        let own = of("organization_id").eq(scope.organization_id()).and(is_of(self.kind));
        match self.before {
            Some(before) => own.and(of("subject_id").lt(before)),
            None => own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documents that are looked at, `None` for the index, when one in so many matches.
    fn ways(one_in: u64, wanted: u64) -> Vec<Option<u64>> {
        let mut search = Search::new(Searched::Item, wanted);
        let mut ways = vec![search.way.documents()];
        while let Some(next) =
            search.next(Ord::min(search.way.documents().unwrap_or(0) / one_in, search.wanted), Some(Uuid::nil()))
        {
            search = next;
            ways.push(search.way.documents());
        }
        ways
    }

    #[test]
    fn a_look_is_as_long_as_the_words_are_rare() {
        assert_eq!(ways(1, 1000), [Some(FIRST)]);
        // All of the newest 10,000 are ranked.
        assert_eq!(ways(2, 1000), [Some(FIRST), Some(9000)]);
        assert_eq!(ways(40, 1000), [Some(FIRST), Some(9000)]);
        assert_eq!(ways(60, 1000), [Some(FIRST), Some(23_000)]);
        assert_eq!(ways(200, 1000), [Some(FIRST), Some(MORE)]);
        assert_eq!(ways(500, 1000), [Some(FIRST), None]);
        // Of comments twenty do.
        assert_eq!(ways(50, 20), [Some(FIRST)]);
        assert_eq!(ways(100, 20), [Some(FIRST), Some(2000)]);
        assert_eq!(ways(300, 20), [Some(FIRST), Some(9000)]);
        assert_eq!(ways(1000, 20), [Some(FIRST), Some(38_000)]);
        assert_eq!(ways(2000, 20), [Some(FIRST), None]);
    }

    #[test]
    fn words_that_become_rarer_are_asked_of_the_index_in_the_end() {
        let edge = Some(Uuid::nil());
        let first = Search::new(Searched::Item, 1000);
        assert!(first.next(1000, edge).is_none());
        assert!(first.next(999, None).is_none(), "there are no more documents");
        let more = first.next(100, edge).expect("it goes on");
        assert_eq!((more.way.documents(), more.wanted, more.enough), (Some(9000), 900, 100));
        let most = more.next(50, edge).expect("it goes on");
        assert_eq!((most.way.documents(), most.wanted, most.enough), (Some(18_000), 50, 50));
        let index = most.next(49, edge).expect("it goes on");
        assert_eq!((index.way.documents(), index.wanted), (None, 1));
        assert!(index.next(0, None).is_none());
        // Where words are everywhere of late alone, what was found does.
        assert!(first.next(250, edge).expect("all of 10,000 are ranked").next(0, edge).is_none());
    }
}
