//! Writes the keys again that are not of the form that `keys` gives them: texts beyond ASCII had been put into lower case
//! only, and e-mail addresses had been kept as they were typed.
//!
//! Read in chunks by the primary key, so that memory is bounded; written is only what differs, which texts in ASCII never
//! do. Done twice it changes nothing. The previous release may write beside it: what that writes meanwhile has keys in
//! lower case, and is found by the same case as before.
//!
//! Where the new key of a name or an address is another row's already, both rows stay as they are shown, and the key of
//! the one that would have moved ends in U+0001 and its id: it sorts beside the other, `contains` and `startsWith` find it,
//! and a new name frees it.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{QueryResult, prelude::Uuid, sea_query::SimpleExpr},
};

use crate::keys::{email_key, fold};

/// Rows read at a time.
const CHUNK: u64 = 500;

/// A column of keys. Its table's primary key ends in the row's id; before it is whatever a unique key is unique in.
struct Keys {
    table: &'static str,
    primary_key: &'static [&'static str],
    text: &'static str,
    key: &'static str,
    form: fn(&str) -> String,
    is_unique: bool,
}

const GLOBAL: &[&str] = &["id"];
const OF_TENANT: &[&str] = &["organization_id", "id"];

const KEYS: &[Keys] = &[
    Keys { table: "user", primary_key: GLOBAL, text: "email", key: "email_key", form: email_key, is_unique: true },
    Keys { table: "user", primary_key: GLOBAL, text: "username", key: "username_key", form: fold, is_unique: true },
    Keys { table: "user", primary_key: GLOBAL, text: "full_name", key: "full_name_key", form: fold, is_unique: false },
    Keys {
        table: "invitation",
        primary_key: OF_TENANT,
        text: "email",
        key: "email_key",
        form: email_key,
        is_unique: true,
    },
    Keys { table: "team", primary_key: OF_TENANT, text: "name", key: "name_key", form: fold, is_unique: true },
    Keys { table: "tag", primary_key: OF_TENANT, text: "name", key: "name_key", form: fold, is_unique: true },
    Keys { table: "item", primary_key: OF_TENANT, text: "title", key: "title_key", form: fold, is_unique: false },
];

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    for keys in KEYS {
        let mut after = None;
        loop {
            let rows = keys.read(manager, after.as_deref()).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.id.clone());
            for row in rows.iter().filter(|row| (keys.form)(&row.text) != row.key) {
                keys.write(manager, row).await?;
            }
        }
    }
    Ok(())
}

struct Row {
    /// The values of the primary key.
    id: Vec<Uuid>,
    text: String,
    key: String,
}

impl Keys {
    async fn read(&self, manager: &SchemaManager<'_>, after: Option<&[Uuid]>) -> Result<Vec<Row>, DbErr> {
        let mut select = Query::select();
        select.from(self.table).columns(self.primary_key.iter().copied()).columns([self.text, self.key]).limit(CHUNK);
        select.and_where(Expr::col(self.text).is_not_null()).and_where(Expr::col(self.key).is_not_null());
        for column in self.primary_key {
            select.order_by(*column, Order::Asc);
        }
        if let Some(after) = after {
            let columns: Vec<SimpleExpr> = self.primary_key.iter().map(|column| Expr::col(*column)).collect();
            let values: Vec<SimpleExpr> = after.iter().map(|value| Expr::val(*value)).collect();
            select.and_where(Expr::tuple(columns).gt(Expr::tuple(values)));
        }
        let rows = manager.get_connection().query_all(&select).await?;
        rows.iter().map(|row| self.parse(row)).collect()
    }

    fn parse(&self, row: &QueryResult) -> Result<Row, DbErr> {
        let id = self.primary_key.iter().map(|column| row.try_get("", column)).collect::<Result<_, _>>()?;
        Ok(Row { id, text: row.try_get("", self.text)?, key: row.try_get("", self.key)? })
    }

    async fn write(&self, manager: &SchemaManager<'_>, row: &Row) -> Result<(), DbErr> {
        let mut key = (self.form)(&row.text);
        if self.is_unique && self.is_taken(manager, row, &key).await? {
            key = format!("{key}\u{1}{}", row.id.last().copied().unwrap_or_default());
        }
        let mut update = Query::update();
        update.table(self.table).value(self.key, key.as_str());
        // Unless the row was renamed meanwhile.
        update.and_where(Expr::col(self.key).eq(row.key.as_str()));
        for (column, value) in self.primary_key.iter().zip(&row.id) {
            update.and_where(Expr::col(*column).eq(*value));
        }
        manager.execute(update).await?;
        if (self.table, self.key) == ("user", "email_key") {
            // What was mailed to the address is for this person still.
            let mut tokens = Query::update();
            tokens.table("account_token").value("email_key", key.as_str());
            tokens.and_where(Expr::col("user_id").eq(row.id[0]));
            tokens.and_where(Expr::col("email_key").eq(row.key.as_str()));
            manager.execute(tokens).await?;
        }
        Ok(())
    }

    /// Whether another row has this key.
    async fn is_taken(&self, manager: &SchemaManager<'_>, row: &Row, key: &str) -> Result<bool, DbErr> {
        let mut select = Query::select();
        select.from(self.table).expr(Expr::val(1)).and_where(Expr::col(self.key).eq(key)).limit(1);
        if let (Some((id, around)), Some((own, values))) = (self.primary_key.split_last(), row.id.split_last()) {
            select.and_where(Expr::col(*id).ne(*own));
            for (column, value) in around.iter().zip(values) {
                select.and_where(Expr::col(*column).eq(*value));
            }
        }
        Ok(manager.get_connection().query_one(&select).await?.is_some())
    }
}
