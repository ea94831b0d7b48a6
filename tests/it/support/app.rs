//! A server for one test: its own database, a clock that stands still, statements on record.

use std::sync::{Arc, Mutex};

use axum::Router;
use chrono::{DateTime, Utc};
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, Statement};
use tempfile::TempDir;
use todo_platform::{
    app::{self, Application, Options},
    base::{clock::Clock, config::Config},
    jobs::deliveries::Worker,
    platform::{auth::password::Cost, outgoing::Dependencies, state::State},
};

use super::{postgres, released};

/// Cheap enough that signing in is not what a test waits for. The real cost has a test of its own.
const COST: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

#[derive(Clone)]
pub struct TestApp {
    pub router: Router,
    pub state: State,
    pub clock: Clock,
    pub worker: Worker,
    statements: Arc<Mutex<Vec<Statement>>>,
    /// Tasks that are in the background as long as the server runs.
    resting: usize,
    _folder: Arc<TempDir>,
}

/// When every test begins.
pub fn beginning() -> DateTime<Utc> {
    "2026-03-02T09:00:00Z".parse().expect("a fixed instant")
}

impl TestApp {
    pub async fn on_sqlite<F: Future<Output = ()>>(story: impl FnOnce(Self) -> F) {
        let app = Self::start(&[]).await;
        story(app.clone()).await;
        app.settle().await;
        app.state.db.close().await;
    }

    /// Passes without PostgreSQL; `postgres::server` has then said so, past the capture.
    pub async fn on_postgres<F: Future<Output = ()>>(story: impl FnOnce(Self) -> F) {
        let Some(server) = postgres::server() else { return };
        let schema = server.create_schema().await;
        let app = Self::start(&[("DATABASE_URL", server.schema_url(&schema))]).await;
        story(app.clone()).await;
        app.settle().await;
        app.state.db.close().await;
        let strayed = strayed_links(&app.beside().await).await;
        assert!(strayed.is_none_or(|items| items == 0), "{strayed:?} items lack links, or have others");
        server.drop_schema(&schema).await;
    }

    /// A server with these settings besides what every test needs.
    pub async fn start(settings: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = config(&folder, settings);
        Self::with(config, folder).await
    }

    /// Another server over this one's database, with the same clock; `change` has its settings.
    pub async fn another_instance(&self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::clone(&self.state.config);
        change(&mut config);
        self.within(config, Dependencies::default()).await
    }

    /// Another server over this one's database, with a clock that is ahead of this one's by so much (or behind).
    pub async fn with_clock_ahead(&self, by: chrono::TimeDelta) -> Self {
        let config = self.state.config.clone();
        Self::run(config, Clock::fixed(self.clock.now() + by), self._folder.clone(), Dependencies::default()).await
    }

    /// Another server over this one's database, whose outgoing requests go into these dependencies.
    pub async fn with_dependencies(&self, dependencies: Dependencies) -> Self {
        self.within(Config::clone(&self.state.config), dependencies).await
    }

    async fn within(&self, config: Config, dependencies: Dependencies) -> Self {
        Self::run(Arc::new(config), self.clock.clone(), self._folder.clone(), dependencies).await
    }

    async fn with(config: Config, folder: TempDir) -> Self {
        let (config, folder) = (Arc::new(config), Arc::new(folder));
        Self::run(config, Clock::fixed(beginning()), folder, Dependencies::default()).await
    }

    async fn run(config: Arc<Config>, clock: Clock, folder: Arc<TempDir>, dependencies: Dependencies) -> Self {
        let statements = Arc::<Mutex<Vec<Statement>>>::default();
        let record = statements.clone();
        let database = if config.database.url.starts_with("sqlite") { "sqlite" } else { "postgres" };
        let options = Options {
            clock: Some(clock.clone()),
            password_cost: Some(COST),
            observer: Some(Arc::new(move |statement: &Statement| {
                record.lock().expect("no test panics while holding it").push(statement.clone());
                released::note(database, &statement.sql);
            })),
            dependencies,
            ..Options::default()
        };
        let Application { state, router, worker, .. } = app::start(config, options).await.expect("the server starts");
        let resting = state.background.len();
        Self { router, state, clock, worker, statements, resting, _folder: folder }
    }

    /// Waits until what answers did not wait for is done: mail, logs.
    pub async fn settle(&self) {
        let done = async {
            while self.state.background.len() > self.resting {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), done).await.expect("the background comes to rest");
    }

    /// Statements since the last call; transactions' own BEGIN and COMMIT are not among them.
    pub fn take_statements(&self) -> Vec<String> {
        self.take_statements_with_values().into_iter().map(|statement| statement.sql).collect()
    }

    pub fn take_statements_with_values(&self) -> Vec<Statement> {
        std::mem::take(&mut *self.statements.lock().expect("no test panics while holding it"))
    }

    /// A connection to its database past the server, of the test's own.
    pub async fn beside(&self) -> DatabaseConnection {
        connection_to(&self.state.config.database.url).await
    }
}

/// How many items have other links beside them than the tables of links, on PostgreSQL; `None` where the story has left a
/// schema without them.
pub async fn strayed_links(db: &DatabaseConnection) -> Option<i64> {
    let of = |table: &str, to: &str| {
        format!(
            "ARRAY(SELECT {to} FROM {table} l WHERE l.organization_id = i.organization_id AND l.item_id = i.id ORDER BY 1)"
        )
    };
    let (tags, assignees) = (of("item_tag", "tag_id"), of("item_assignee", "user_id"));
    let sql = format!("SELECT count(*) FROM item i WHERE tag_ids <> {tags} OR assignee_ids <> {assignees}");
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.ok()?;
    Some(row.expect("a row").try_get_by_index(0).expect("a number"))
}

/// A connection of a test's own.
pub async fn connection_to(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.expect("a connection")
}

/// The settings of a test's server, in a folder of its own.
pub fn config(folder: &TempDir, settings: &[(&str, String)]) -> Config {
    let mut environment = vec![
        ("DATA_DIR".to_owned(), folder.path().display().to_string()),
        ("SECRET_KEY".to_owned(), "a secret of thirty-two bytes or more".to_owned()),
        ("TODO_MODE".to_owned(), "embedded".to_owned()),
        ("TODO_DATABASE_MAX_CONNECTIONS".to_owned(), "4".to_owned()),
        // Receivers of webhooks are on loopback.
        ("TODO_WEBHOOKS_ALLOWED_CIDRS".to_owned(), "127.0.0.0/8".to_owned()),
        ("TODO_WEBHOOKS_ALLOW_HTTP".to_owned(), "on".to_owned()),
        // Everybody here comes from one address.
        ("TODO_AUTH_REGISTRATIONS_PER_ADDRESS".to_owned(), "0".to_owned()),
        ("CORS_ORIGINS".to_owned(), "https://app.example.com".to_owned()),
    ];
    environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let none = folder.path().join("none.toml");
    std::fs::write(&none, "").expect("an empty settings file");
    Config::from_parts(Some(&none), environment).expect("the test's settings are good")
}
