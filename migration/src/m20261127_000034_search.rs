//! Full-text search: a document for each item and comment, kept by triggers in the write's own transaction, whichever
//! release writes. What was there before gets its document by a job, in chunks: steps run in one transaction, and a
//! column of `item` would be written for all rows at once.
//!
//! PostgreSQL keeps a `tsvector` in the document, with a lexeme for organization and kind, so that the index leads to no
//! other tenant's rows. SQLite keeps an FTS5 index beside it, without the texts; a document's id is its tenant's number,
//! its kind, and a number that rises with time, so that one tenant's are a range with the newest last.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{
        DbBackend, Statement,
        prelude::{DateTimeUtc, Json, Uuid},
    },
};

use crate::words::{BEFORE_DIGIT, BETWEEN_WORDS};

/// The job that makes the documents of rows that were there before.
const JOB: Uuid = Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0034_0001);

/// What has a document: its kind, table, the column that names its item, and its texts.
const KINDS: [(u8, &str, &str, &str, Option<&str>); 2] =
    [(0, "item", "id", "title", Some("description")), (1, "comment", "item_id", "body", None)];

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let steps = match manager.get_database_backend() {
        DbBackend::Postgres => postgres(&fold_of(manager).await?),
        _ => sqlite(),
    };
    for step in steps {
        connection.execute_unprepared(&step).await?;
    }
    fill_later(manager).await
}

/// Leaves the job, where there is anything for it to do.
async fn fill_later(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let any = Query::select().expr(Expr::val(1)).from("item").limit(1).take();
    if connection.query_one(&any).await?.is_none() {
        return Ok(());
    }
    let begun = DateTimeUtc::UNIX_EPOCH;
    let columns = ["id", "kind", "payload", "actor_kind", "actor_id", "created_at", "run_at"];
    let values = [
        JOB.into(),
        "search.fill".into(),
        Json::Object(Default::default()).into(),
        0_i16.into(),
        Uuid::nil().into(),
        begun.into(),
        begun.into(),
    ];
    let job = Query::insert().into_table("job").columns(columns).values_panic(values).take();
    connection.execute(&job).await.map(drop)
}

/// How PostgreSQL folds a text `t` that is not all ASCII. Without the letters of ICU, and in an encoding other than UTF-8,
/// by the database's own language.
async fn fold_of(manager: &SchemaManager<'_>) -> Result<String, DbErr> {
    let ask = "SELECT current_setting('server_encoding') = 'UTF8' AS is_utf8, \
               EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu') AS has_icu";
    let found = manager.get_connection().query_one_raw(Statement::from_string(DbBackend::Postgres, ask)).await?;
    let is = |what: &str| found.as_ref().map_or(Ok(false), |row| row.try_get::<bool>("", what));
    if !is("is_utf8")? {
        return Ok("lower(t)".to_owned());
    }
    let collation = if is("has_icu")? { " COLLATE \"und-x-icu\"" } else { "" };
    let bare = "regexp_replace(normalize(t, NFD), '[\\u0300-\\u036f]', '', 'g')";
    Ok(format!("translate(lower({bare}{collation}), 'ς', 'σ')"))
}

fn postgres(fold: &str) -> Vec<String> {
    let mut steps = vec![
        "CREATE TABLE search_document (organization_id uuid NOT NULL, kind smallint NOT NULL, \
         subject_id uuid NOT NULL, item_id uuid NOT NULL, vector tsvector NOT NULL, \
         PRIMARY KEY (organization_id, kind, subject_id), \
         CONSTRAINT fk_search_document_organization FOREIGN KEY (organization_id) \
         REFERENCES organization (id) ON DELETE CASCADE)"
            .to_owned(),
        // What waits to be put into the index is read by each search: little of it.
        "CREATE INDEX ix_search_document_vector ON search_document USING gin (vector) \
         WITH (gin_pending_list_limit = 256)"
            .to_owned(),
        format!(
            "CREATE FUNCTION search_fold(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$ BEGIN \
             IF octet_length(t) = length(t) THEN RETURN lower(t COLLATE \"C\"); END IF; RETURN {fold}; END $$"
        ),
        // Spaces alone are left between words, so that the parser of PostgreSQL finds no addresses, paths or fractions.
        format!(
            "CREATE FUNCTION search_words(t text) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS \
             $$ BEGIN t := search_fold(regexp_replace(t, '[{BETWEEN_WORDS}]+', ' ', 'g')); \
             RETURN to_tsvector('simple', regexp_replace(t, '(^| )([0-9])', '\\1{BEFORE_DIGIT}\\2', 'g')); END $$"
        ),
        // The lexeme of the organization stands between two texts, so that no phrase goes over their border.
        "CREATE FUNCTION search_vector(organization_id uuid, kind smallint, first text, second text) RETURNS tsvector \
         LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$ BEGIN RETURN search_words(first) \
         || ('''@' || replace(organization_id::text, '-', '') || kind || ''':1')::tsvector \
         || search_words(coalesce(second, '')); END $$"
            .to_owned(),
    ];
    for (kind, table, item, first, second) in KINDS {
        let text = second.map_or("NULL".to_owned(), |second| format!("NEW.{second}"));
        let differs: Vec<String> = std::iter::once(first)
            .chain(second)
            .map(|name| format!("OLD.{name} IS DISTINCT FROM NEW.{name}"))
            .collect();
        steps.push(format!(
            "CREATE FUNCTION search_{table}_saved() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO search_document (organization_id, kind, subject_id, item_id, vector) \
             VALUES (NEW.organization_id, {kind}, NEW.id, NEW.{item}, \
             search_vector(NEW.organization_id, {kind}::smallint, NEW.{first}, {text})) \
             ON CONFLICT (organization_id, kind, subject_id) DO UPDATE SET vector = EXCLUDED.vector; \
             RETURN NULL; END $$"
        ));
        steps.push(format!(
            "CREATE FUNCTION search_{table}_deleted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             DELETE FROM search_document WHERE organization_id = OLD.organization_id AND kind = {kind} \
             AND subject_id = OLD.id; RETURN NULL; END $$"
        ));
        for (name, event, when, does) in [
            ("added", "INSERT".to_owned(), String::new(), "saved"),
            (
                "changed",
                format!("UPDATE OF {}", columns_of(first, second)),
                format!("WHEN ({})", differs.join(" OR ")),
                "saved",
            ),
            ("deleted", "DELETE".to_owned(), String::new(), "deleted"),
        ] {
            steps.push(format!(
                "CREATE TRIGGER search_{table}_{name} AFTER {event} ON {table} FOR EACH ROW {when} \
                 EXECUTE FUNCTION search_{table}_{does}()"
            ));
        }
    }
    steps
}

fn columns_of(first: &str, second: Option<&str>) -> String {
    std::iter::once(first).chain(second).collect::<Vec<_>>().join(", ")
}

fn sqlite() -> Vec<String> {
    let mut steps = vec![
        "CREATE TABLE search_tenant (number integer NOT NULL PRIMARY KEY, organization_id uuid_blob NOT NULL UNIQUE, \
         FOREIGN KEY (organization_id) REFERENCES organization (id) ON DELETE CASCADE)"
            .to_owned(),
        "CREATE TABLE search_document (id integer NOT NULL PRIMARY KEY, organization_id uuid_blob NOT NULL, \
         kind smallint NOT NULL, subject_id uuid_blob NOT NULL, item_id uuid_blob NOT NULL, \
         UNIQUE (organization_id, kind, subject_id))"
            .to_owned(),
        "CREATE VIRTUAL TABLE search_text USING fts5 (title, body, content = '', columnsize = 0, \
         prefix = '2 3 4', tokenize = \"unicode61 remove_diacritics 2 categories 'L* M* Nd Nl Co'\")"
            .to_owned(),
        // The words of the index, to look up those that begin alike.
        "CREATE VIRTUAL TABLE search_word USING fts5vocab (search_text, instance)".to_owned(),
    ];
    for (kind, table, item, first, second) in KINDS {
        let texts = |row: &str| match second {
            Some(second) => format!("{row}.{first}, coalesce({row}.{second}, '')"),
            None => format!("'', {row}.{first}"),
        };
        let own = format!("d.organization_id = NEW.organization_id AND d.kind = {kind} AND d.subject_id = NEW.id");
        let first_id = format!("((t.number * 2 + {kind}) << 40)");
        let next_id = format!(
            "SELECT max(coalesce((SELECT max(d.id) FROM search_document d WHERE d.id >= {first_id} \
             AND d.id < {first_id} + (1 << 40)), 0), {first_id} + (1 << 39) - 1) + 1 \
             FROM search_tenant t WHERE t.organization_id = NEW.organization_id"
        );
        // Values, not a SELECT, which would be kept in a table of its own first, as it reads what it writes.
        let add = format!(
            "INSERT OR IGNORE INTO search_tenant (organization_id) VALUES (NEW.organization_id); \
             INSERT OR IGNORE INTO search_document (id, organization_id, kind, subject_id, item_id) \
             VALUES (({next_id}), NEW.organization_id, {kind}, NEW.id, NEW.{item});"
        );
        let differs: Vec<String> =
            std::iter::once(first).chain(second).map(|name| format!("OLD.{name} IS NOT NEW.{name}")).collect();
        // The index has no texts of its own: what leaves it is told by what it was made of.
        let remove = format!(
            "INSERT INTO search_text (search_text, rowid, title, body) SELECT 'delete', d.id, {} FROM search_document d \
             WHERE d.organization_id = OLD.organization_id AND d.kind = {kind} AND d.subject_id = OLD.id;",
            texts("OLD")
        );
        let write = format!(
            "INSERT INTO search_text (rowid, title, body) SELECT d.id, {} FROM search_document d WHERE {own};",
            texts("NEW")
        );
        steps.extend([
            format!(
                "CREATE TRIGGER search_{table}_indexed AFTER INSERT ON search_document FOR EACH ROW \
                 WHEN NEW.kind = {kind} BEGIN INSERT INTO search_text (rowid, title, body) SELECT NEW.id, {} \
                 FROM {table} s WHERE s.organization_id = NEW.organization_id AND s.id = NEW.subject_id; END",
                texts("s")
            ),
            format!("CREATE TRIGGER search_{table}_added AFTER INSERT ON {table} FOR EACH ROW BEGIN {add} END"),
            format!(
                "CREATE TRIGGER search_{table}_changed AFTER UPDATE OF {} ON {table} FOR EACH ROW WHEN {} \
                 BEGIN {remove} {write} {add} END",
                columns_of(first, second),
                differs.join(" OR ")
            ),
            format!(
                "CREATE TRIGGER search_{table}_deleted AFTER DELETE ON {table} FOR EACH ROW BEGIN {remove} \
                 DELETE FROM search_document WHERE organization_id = OLD.organization_id AND kind = {kind} \
                 AND subject_id = OLD.id; END"
            ),
        ]);
    }
    steps
}
