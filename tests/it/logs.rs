//! What the log says of requests and statements, and what it never says.

use std::{fs, path::Path, time::Duration};

use sea_orm::{ConnectionTrait as _, Database, DatabaseBackend, TransactionTrait as _};
use serde_json::{Value, json};

use crate::{
    process::{Process, folder, gql, register},
    support::postgres,
};

const KEY: &str = "q3J0c5mZ8oYxk1T7bVnRw2LhUeDfGaPsX4iM6tNz";

/// Lines of a log, which are JSON all of them.
fn lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

pub fn text<'v>(value: &'v Value, path: &str) -> &'v str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("{path} is not in {value:#}"))
}

/// Runs a story with a server's settings on each database.
pub async fn on_both<F: Future<Output = ()>>(story: impl Fn(String) -> F) {
    let folder = folder();
    story(format!("sqlite://{}", folder.path().join("todo.sqlite").display())).await;
    let Some(postgres) = postgres::server() else { return };
    let schema = postgres.create_schema().await;
    story(postgres.schema_url(&schema)).await;
    postgres.drop_schema(&schema).await;
}

/// Settings of a server on a database, with others.
pub fn settings<'s>(database: &'s str, more: &[(&'s str, &'s str)]) -> Vec<(&'s str, &'s str)> {
    let own = [
        ("DATABASE_URL", database),
        ("SECRET_KEY", KEY),
        ("TODO_MODE", "embedded"),
        ("TODO_DATABASE_MAX_CONNECTIONS", "4"),
        ("TODO_WEBHOOKS_ALLOWED_CIDRS", "127.0.0.0/8"),
        ("TODO_WEBHOOKS_ALLOW_HTTP", "on"),
    ];
    [own.as_slice(), more].concat()
}

/// Somebody with an organization; gives their token.
pub async fn found(url: &str) -> String {
    let ann = register(url, "ann").await;
    let token = text(&ann, "/accessToken").to_owned();
    let found = "mutation { organizationCreate(input: {name: \"Acme\", slug: \"acme\"}) { userErrors { code } } }";
    gql(url, Some(&token), found, json!({})).await;
    token
}

/// Somebody else holds what a mutation needs, for longer than a statement should take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_statement_is_one_line_that_says_whose_it_is() {
    on_both(|database| async move {
        let folder = folder();
        let settings = settings(&database, &[("TODO_DATABASE_SLOW_STATEMENT", "700ms")]);
        let mut server = Process::spawn(folder.path(), &[], &settings);
        let url = server.url();
        let token = found(&url).await;

        let db = Database::connect(&database).await.expect("it answers");
        let held = db.begin().await.expect("a transaction");
        let lock = match db.get_database_backend() {
            DatabaseBackend::Postgres => "LOCK TABLE item IN ACCESS EXCLUSIVE MODE",
            _ => "UPDATE organization SET name = name",
        };
        held.execute_unprepared(lock).await.expect("the lock");
        let release = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            held.rollback().await.expect("it lets go");
        });
        let create = "mutation HeldUp { itemCreate(input: {title: \"marigold\"}) { userErrors { code } } }";
        let made = gql(&url, Some(&token), create, json!({})).await;
        assert_eq!(made["data"]["itemCreate"]["userErrors"], json!([]), "{made:#}");
        release.await.expect("it has let go");
        server.terminate();
        let log = server.ended().stderr;

        let slow: Vec<Value> =
            lines(&log).into_iter().filter(|line| line["target"] == "todo_platform::slow_statement").collect();
        let slow: Vec<&Value> = slow.iter().filter(|line| line["operation"] == "HeldUp").collect();
        let [slow] = slow.as_slice() else { panic!("one statement was held up: {slow:#?}\n{log}") };
        assert_eq!((&slow["level"], &slow["kind"]), (&json!("WARN"), &json!("mutation")));
        assert!(slow["millis"].as_u64().is_some_and(|millis| (700..30_000).contains(&millis)), "{slow:#}");
        assert!(!text(slow, "/sql").is_empty());
        let request =
            lines(&log).into_iter().find(|line| line["operation"] == "HeldUp" && line["message"] == "request");
        let request = request.expect("the request's own line");
        for id in ["request_id", "organization", "actor"] {
            assert_eq!(text(slow, &format!("/{id}")), text(&request, &format!("/{id}")));
        }
        assert!(!log.contains("marigold"), "values are in no line");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_of_an_operation_says_whose_it_is() {
    on_both(|database| async move {
        let folder = folder();
        let mut server = Process::spawn(folder.path(), &[], &settings(&database, &[("LOG_LEVEL", "debug")]));
        let url = server.url();
        let token = found(&url).await;
        let long = "N".repeat(300);
        let board = format!("query {long} {{ items(first: 5) {{ nodes {{ title tags {{ name }} }} }} }}");
        gql(&url, Some(&token), &board, json!({})).await;
        let create = "mutation Make { itemCreate(input: {title: \"one\"}) { userErrors { code } } }";
        gql(&url, Some(&token), create, json!({})).await;
        server.terminate();
        let log = server.ended().stderr;
        for (operation, kind) in [(&long[..100], "query"), ("Make", "mutation")] {
            let of_it: Vec<Value> = lines(&log).into_iter().filter(|line| line["operation"] == operation).collect();
            let statements = of_it.iter().filter(|line| line["message"] == "statement").count();
            assert!(statements > 0, "{operation}: its statements are told: {log}");
            let request = of_it.iter().find(|line| line["message"] == "request").expect("its own line");
            for line in &of_it {
                assert_eq!(line["kind"], kind, "{line:#}");
                for id in ["request_id", "organization", "actor"] {
                    assert_eq!(text(line, &format!("/{id}")), text(request, &format!("/{id}")), "{line:#}");
                }
            }
        }
        // BEGIN and COMMIT run on tasks of their own.
        let commit = lines(&log).into_iter().find(|line| line["operation"] == "Make" && line["sql"] == "COMMIT");
        assert!(commit.is_some(), "{log}");
    })
    .await;
}

/// The tokens in e-mails: the lines that are set in.
fn mailed(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder.join("data/mail")).expect("e-mails").map(|entry| entry.expect("an entry").path());
    let texts: Vec<String> = files.map(|file| fs::read_to_string(file).expect("an e-mail")).collect();
    let lines = texts.iter().flat_map(|text| text.lines()).filter_map(|line| line.strip_prefix("    "));
    lines.map(|line| line.trim().to_owned()).collect()
}

/// Everything that makes, shows or takes a secret, with the log of it all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_of_a_whole_run_is_in_its_log() {
    on_both(|database| async move {
        let folder = folder();
        let mut server = Process::spawn(folder.path(), &[], &settings(&database, &[("LOG_LEVEL", "trace")]));
        let url = server.url();
        let ann = register(&url, "ann").await;
        let token = text(&ann, "/accessToken");
        let mut secrets: Vec<(&str, String)> =
            vec![("SECRET_KEY", KEY.to_owned()), ("password", "correct horse battery".to_owned())];
        let mut keep = |what, value: &Value, path: &str| {
            let secret = text(value, path).to_owned();
            secrets.push((what, secret.clone()));
            secret
        };
        keep("access token", &ann, "/accessToken");
        let refresh = keep("refresh token", &ann, "/refreshToken");

        let run = async |query: &str, variables: Value| {
            let answer = gql(&url, Some(token), query, variables).await;
            let refused = answer["data"].as_object().into_iter().flatten().any(|(_, it)| it["userErrors"][0].is_object());
            assert!(answer["errors"].is_null() && !refused, "{query}: {answer:#}");
            answer["data"].clone()
        };
        run("mutation { organizationCreate(input: {name: \"Acme\", slug: \"acme\"}) { userErrors { code } } }", json!({}))
            .await;
        let key = "mutation { apiKeyCreate(input: {name: \"K\", scopes: [ITEM_READ]}) { secret apiKey { id } userErrors { code } } }";
        let made = run(key, json!({})).await;
        let key = keep("API key", &made, "/apiKeyCreate/secret");
        let rotate = "mutation($id: ID!) { apiKeyRotate(input: {id: $id}) { secret userErrors { code } } }";
        let made = run(rotate, json!({ "id": made["apiKeyCreate"]["apiKey"]["id"] })).await;
        let rotated = keep("rotated API key", &made, "/apiKeyRotate/secret");
        let hook = "mutation { webhookCreate(input: {url: \"http://127.0.0.1:9/\", eventTypes: [ITEM_CREATED]}) { secret webhook \
                    { id } userErrors { code message path } } }";
        let made = run(hook, json!({})).await;
        keep("webhook secret", &made, "/webhookCreate/secret");
        let rotate = "mutation($id: ID!) { webhookRotateSecret(input: {id: $id}) { secret userErrors { code } } }";
        let made = run(rotate, json!({ "id": made["webhookCreate"]["webhook"]["id"] })).await;
        keep("rotated webhook secret", &made, "/webhookRotateSecret/secret");
        let hook = "mutation { inboundHookCreate(input: {name: \"CI\", action: ITEM_CREATE, mapping: {title: {default: \"Red\"}}}) \
                    { secret inboundHook { url } userErrors { code } } }";
        let made = run(hook, json!({})).await;
        keep("inbound hook's secret", &made, "/inboundHookCreate/secret");
        let address = text(&made, "/inboundHookCreate/inboundHook/url").to_owned();
        secrets.push(("inbound hook's address", address.rsplit('/').next().expect("a token").to_owned()));
        run("mutation { invitationCreate(input: {email: \"bob@example.com\"}) { userErrors { code } } }", json!({})).await;
        run("mutation { passwordResetRequest(input: {email: \"ann@example.com\"}) { userErrors { code } } }", json!({})).await;
        // Deliveries and callbacks, good and bad.
        run("mutation { itemCreate(input: {title: \"sent\"}) { userErrors { code } } }", json!({})).await;
        let client = reqwest::Client::new();
        let callback = client.post(&address).body("{}").send().await.expect("an answer");
        assert_eq!(callback.status(), 401);

        // Credentials in every place where one may be, right and wrong.
        for (header, value) in [("x-api-key", &key), ("x-api-key", &rotated), ("authorization", &format!("Bearer {key}"))] {
            let request = client.post(format!("{url}/graphql")).header(header, value);
            request.json(&json!({ "query": "{ items { totalCount } }" })).send().await.expect("an answer");
        }
        let refreshed = "mutation($token: String!) { sessionRefresh(input: {refreshToken: $token}) { accessToken refreshToken \
                         userErrors { code } } }";
        let made = run(refreshed, json!({ "token": refresh })).await;
        for (what, path) in [("access", "/sessionRefresh/accessToken"), ("refresh", "/sessionRefresh/refreshToken")] {
            secrets.push((what, text(&made, path).to_owned()));
        }
        let until = std::time::Instant::now() + Duration::from_secs(60);
        // One that proves the address, one of the invitation, one of the reset.
        while !folder.path().join("data/mail").exists() || mailed(folder.path()).len() < 3 {
            assert!(std::time::Instant::now() < until, "e-mails are sent");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for mailed in mailed(folder.path()) {
            for query in [
                "mutation($t: String!) { emailVerify(input: {token: $t}) { userErrors { code } } }",
                "mutation($t: String!) { invitationAccept(input: {token: $t}) { userErrors { code } } }",
                "mutation($t: String!) { passwordResetComplete(input: {token: $t, newPassword: \"another horse battery\"}) \
                 { userErrors { code } } }",
            ] {
                gql(&url, Some(token), query, json!({ "t": mailed })).await;
            }
            secrets.push(("mailed token", mailed));
        }
        secrets.push(("new password", "another horse battery".to_owned()));
        server.terminate();
        let log = server.ended().stderr;
        assert!(lines(&log).len() > 100, "there is a log");
        for (what, secret) in secrets {
            assert!(secret.len() >= 16, "{what}: {secret}");
            let at = log.lines().find(|line| line.contains(&secret));
            assert!(at.is_none(), "the {what} is in {at:?}");
        }
    })
    .await;
}
