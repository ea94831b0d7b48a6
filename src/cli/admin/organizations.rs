//! `admin list-organizations`.

use sea_orm::Condition;
use serde_json::json;

use super::{failure, say};
use crate::{
    base::{clock::format_instant, plan},
    data::db::Db,
};

const TITLES: [&str; 6] = ["ID", "SLUG", "PLAN", "MEMBERS", "ITEMS", "CREATED"];

pub async fn list(db: &Db, as_json: bool) -> anyhow::Result<()> {
    let found = db.overviews(Condition::all()).await.map_err(failure)?;
    if as_json {
        let rows: Vec<_> = found
            .iter()
            .map(|row| {
                json!({
                    "id": row.organization.id.to_string(),
                    "slug": row.organization.slug,
                    "plan": row.organization.plan_tier,
                    "members": row.head.member_count,
                    "items": row.head.item_count,
                    "createdAt": format_instant(row.organization.created_at),
                })
            })
            .collect();
        say(serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let rows = found.iter().map(|row| {
        [
            row.organization.id.to_string(),
            row.organization.slug.clone(),
            plan::name(row.organization.plan_tier),
            row.head.member_count.to_string(),
            row.head.item_count.to_string(),
            format_instant(row.organization.created_at),
        ]
    });
    let table: Vec<[String; 6]> = std::iter::once(TITLES.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; 6] =
        std::array::from_fn(|column| table.iter().map(|row| row[column].len()).max().unwrap_or_default());
    for row in &table {
        let [id, slug, plan, members, items, created] = row;
        let [a, b, c, d, e, _] = widths;
        say(format_args!("{id:a$}  {slug:b$}  {plan:c$}  {members:>d$}  {items:>e$}  {created}"));
    }
    say(format_args!("{} organization(s)", found.len()));
    Ok(())
}
