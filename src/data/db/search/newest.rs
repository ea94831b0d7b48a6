//! The newest matches on PostgreSQL, whose index has no order: of a word that is everywhere it would give all matches to be
//! sorted. So the newest documents are looked at one by one first. How many of them match tells whether to go on like
//! this, or whether the words are so rare that the index has little to give.

use sea_orm::{
    Condition, ConnectionTrait as _, FromQueryResult as _, Order,
    prelude::{Expr, Uuid},
    sea_query::{ExprTrait as _, Query, SelectStatement, SimpleExpr},
};

use super::{Candidate, Row, Searched, Terms, document, union};
use crate::{
    base::error::Result,
    data::db::{OrgScope, fail},
};

/// Documents of a kind that are looked at first.
const FIRST: u64 = 1000;
/// Documents of a kind that are looked at one by one at most after that. So many take about 50 ms, of a million documents
/// a tenth of what as many matches of the index take, which lie apart.
const MORE: u64 = 50_000;
/// Added to the number of a kind, for the row that tells the oldest document looked at.
const EDGE: i32 = 10;

/// What is still to be found of a kind.
#[derive(Clone, Copy)]
struct Search {
    kind: Searched,
    wanted: u64,
    /// Matches of documents older than this.
    before: Option<Uuid>,
    way: Way,
}

#[derive(Clone, Copy)]
enum Way {
    /// The newest documents, and then it is known how frequent the words are.
    First,
    /// As many more documents as it takes, of [`MORE`].
    More,
    Index,
}

pub(super) async fn newest(
    scope: &OrgScope,
    terms: &Terms,
    which: &Condition,
    wanted: impl Iterator<Item = (Searched, u64)>,
) -> Result<Vec<Candidate>> {
    let first = |(kind, wanted)| Search { kind, wanted, before: None, way: Way::First };
    let mut searches: Vec<Search> = wanted.map(first).collect();
    let mut found: Vec<Row> = Vec::new();
    // Three times at most: each way leads to a later one.
    while let Some(all) = union(searches.iter().flat_map(|search| search.statements(scope, terms, which)).collect()) {
        let rows = scope.db().reader().query_all(&all).await.map_err(fail)?;
        let rows: Result<Vec<Row>> = rows.iter().map(|row| Row::from_query_result(row, "").map_err(fail)).collect();
        let mut rows = rows?;
        let mut rest = Vec::new();
        for search in searches {
            let number = i32::from(search.kind.number());
            let edge = rows.iter().find(|row| row.kind == EDGE + number).map(|edge| edge.id);
            let matches: Vec<Row> = rows.extract_if(.., |row| row.kind == number).collect();
            let next = search.next(matches.len() as u64, edge);
            rest.extend(next);
            // What is looked for again from the same place on is found again.
            if next.is_none_or(|next| next.before != search.before) {
                found.extend(matches);
            }
        }
        searches = rest;
    }
    Ok(found.into_iter().map(Candidate::from).collect())
}

impl Search {
    /// What is to be done after so many matches; `edge`: the oldest document looked at, `None` where there are no more.
    fn next(self, matches: u64, edge: Option<Uuid>) -> Option<Self> {
        let missing = self.wanted.saturating_sub(matches);
        match self.way {
            _ if missing == 0 => None,
            Way::Index => None,
            Way::More => Some(Self { way: Way::Index, ..self }),
            Way::First => {
                let before = Some(edge?);
                let expected = (missing * FIRST).checked_div(matches);
                let way = if expected.is_some_and(|documents| documents <= MORE) { Way::More } else { Way::Index };
                Some(Self { wanted: missing, before, way, ..self })
            }
        }
    }

    fn statements(&self, scope: &OrgScope, terms: &Terms, which: &Condition) -> Vec<SelectStatement> {
        let within = format!("@{}{}", scope.organization_id().uuid().simple(), self.kind.number());
        // As a subquery it is made once, and not taken for frequent or rare by the planner, which counts words apart from
        // each other and over all tenants.
        let matches = "document.vector @@ (SELECT search_fold($1)::tsquery)";
        let matches = Expr::cust_with_values(matches, [terms.to_tsquery(&within)]);
        let mut select = Query::select();
        match self.way {
            Way::First => select.from_subquery(self.newest(scope, FIRST), "document").and_where(matches),
            Way::More => select.from_subquery(self.newest(scope, MORE), "document").and_where(matches),
            // OFFSET keeps the planner from going through all documents in their order for the sake of the outer limit.
            Way::Index => select.from_subquery(self.documents(scope).and_where(matches).offset(0).take(), "document"),
        };
        scope.with_subjects(&mut select, self.kind, which.clone());
        let newest = select.order_by(document("subject_id"), Order::Desc).limit(self.wanted).take();
        if !matches!(self.way, Way::First) {
            return vec![newest];
        }
        let edge = self
            .newest(scope, 1)
            .offset(FIRST - 1)
            .clear_selects()
            .expr_as(Expr::val(EDGE + i32::from(self.kind.number())), "kind")
            .expr_as(Expr::col(document("subject_id")), "id")
            .expr_as(Expr::val(""), "title")
            .expr_as(Expr::current_timestamp(), "created_at")
            .take();
        vec![newest, edge]
    }

    /// The newest documents, matching or not, by the primary key.
    fn newest(&self, scope: &OrgScope, many: u64) -> SelectStatement {
        self.documents(scope).order_by(document("subject_id"), Order::Desc).limit(many).take()
    }

    /// The documents, matching or not.
    fn documents(&self, scope: &OrgScope) -> SelectStatement {
        Query::select()
            .columns(["subject_id", "item_id", "vector"].map(document))
            .from_as("search_document", "document")
            .and_where(self.own(scope))
            .take()
    }

    fn own(&self, scope: &OrgScope) -> SimpleExpr {
        let of = |column: &'static str| Expr::col(document(column));
        let own = of("organization_id").eq(scope.organization_id()).and(of("kind").eq(self.kind.number()));
        match self.before {
            Some(before) => own.and(of("subject_id").lt(before)),
            None => own,
        }
    }
}
