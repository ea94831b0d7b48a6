//! E-mails by SMTP: that they arrive, once; and what becomes of them where the server is slow, away, or refuses.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use todo_platform::platform::mail::Email;
use todo_test_macros::databases;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

use crate::{
    process::{KEY, Process, folder, register},
    support::{
        app::TestApp,
        free_port,
        smtp::{Doors, SmtpServer, Verdict},
    },
};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The same server, which sends its e-mails there and is in a hurry.
async fn sending(app: &TestApp, url: String) -> TestApp {
    app.another_instance(|config| {
        config.mail.smtp_url = Some(url);
        config.mail.timeout = Duration::from_secs(20);
        config.mail.retry_pause = Duration::from_millis(10);
        config.mail.letters_per_mailbox = 0;
    })
    .await
}

/// E-mails that ended like this, by the metrics.
fn counted(app: &TestApp, outcome: &str) -> u64 {
    let text = app.state.metrics.text();
    assert!(text.contains("todo_emails_waiting 0"), "{text}");
    let line = format!("todo_emails_total{{outcome=\"{outcome}\"}} ");
    text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().expect("a number"))
}

#[databases]
async fn a_registration_and_an_invitation_arrive_with_their_tokens(app: TestApp) {
    let doors = Doors { login: Some(("me", "p@ss word")), ..Doors::default() };
    let server = SmtpServer::with(0, doors, |_| Verdict::Take).await;
    let app = sending(&app, format!("smtp://me:p%40ss%20word@{}?tls=none", server.address)).await;
    let ann = app.register("ann").await;
    app.settle().await;
    let [letter] = server.taken().try_into().expect("one e-mail");
    assert_eq!((letter.header("to"), letter.header("subject")), ("ann@example.com", "Confirm your e-mail address"));
    let verify = "mutation($token: String!) { emailVerify(input: {token: $token}) { userErrors { code } } }";
    app.gql(verify).vars(json!({ "token": letter.token() })).done().await;

    app.found(&ann, "acme").await;
    let invite =
        "mutation { invitationCreate(input: {email: \"bob@example.com\", role: MEMBER}) { userErrors { code } } }";
    app.gql(invite).token(&ann.token).at("acme").done().await;
    app.settle().await;
    let letter = server.taken().pop().expect("an e-mail");
    assert_eq!(letter.header("to"), "bob@example.com");
    letter.token();
    assert_eq!((server.taken().len(), counted(&app, "sent")), (2, 2));
    assert!(app.emails_to("ann@example.com").await.is_empty(), "no file");
}

#[tokio::test]
async fn many_at_once_share_four_connections() {
    let server = SmtpServer::start().await;
    let app = sending(&TestApp::start(&[]).await, server.url()).await;
    let names: Vec<String> = (0..100).map(|number| format!("guest-{number:03}@example.com")).collect();
    for name in &names {
        app.state.mailer.post(Email::invitation(name, "Acme", name, HOUR));
    }
    app.settle().await;
    let mut taken: Vec<String> = server.taken().iter().map(|letter| letter.header("to").to_owned()).collect();
    taken.sort();
    assert_eq!(taken, names, "each once");
    assert!(server.taken().iter().all(|letter| letter.token() == letter.header("to")), "none mixed with another");
    assert!(server.most_at_once() <= 5, "{}: one may be saying goodbye", server.most_at_once());
    assert!(server.connections() < 50, "{} connections", server.connections());
}

#[databases]
async fn one_that_is_put_off_is_tried_again(app: TestApp) {
    let server =
        SmtpServer::judging(|before| if before < 2 { Verdict::Reply("451 later") } else { Verdict::Take }).await;
    let app = sending(&app, server.url()).await;
    app.register("ann").await;
    app.settle().await;
    assert_eq!((server.tries(), server.taken().len(), counted(&app, "sent")), (3, 1, 1));
    assert!(app.emails_to("ann@example.com").await.is_empty(), "no file");
}

#[databases]
async fn one_that_is_refused_becomes_a_file(app: TestApp) {
    let server = SmtpServer::judging(|_| Verdict::Reply("550 no such mailbox")).await;
    let app = sending(&app, server.url()).await;
    app.register("ann").await;
    let letter = app.email("ann@example.com", "Confirm your e-mail address").await;
    letter.token();
    assert_eq!((server.tries(), counted(&app, "failed"), counted(&app, "sent")), (1, 1, 0));
}

#[tokio::test]
async fn one_that_is_put_off_for_ever_becomes_a_file_after_five_tries() {
    let server = SmtpServer::judging(|_| Verdict::Reply("451 later")).await;
    let app = sending(&TestApp::start(&[]).await, server.url()).await;
    app.register("ann").await;
    app.email("ann@example.com", "Confirm your e-mail address").await.token();
    assert_eq!((server.tries(), counted(&app, "failed")), (5, 1));
}

#[tokio::test]
async fn a_server_that_is_down_at_first_gets_it_later() {
    let port = free_port();
    let app = sending(&TestApp::start(&[]).await, format!("smtp://127.0.0.1:{port}?tls=none")).await;
    app.register("ann").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let server = SmtpServer::with(port, Doors::default(), |_| Verdict::Take).await;
    app.settle().await;
    assert_eq!((server.taken().len(), counted(&app, "sent")), (1, 1));
}

/// Its answers do not wait; and the next e-mail is not sent on a connection on which the last one stands half-way.
#[tokio::test]
async fn a_server_that_is_silent_holds_nobody_up() {
    let server = SmtpServer::judging(|before| if before == 0 { Verdict::Silence } else { Verdict::Take }).await;
    let app = sending(&TestApp::start(&[]).await, server.url()).await;
    let app = app.another_instance(|config| config.mail.timeout = Duration::from_secs(4)).await;
    let begun = Instant::now();
    app.register("ann").await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    while server.tries() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    app.register("bob").await;
    app.settle().await;
    let taken: Vec<String> = server.taken().iter().map(|letter| letter.header("to").to_owned()).collect();
    assert_eq!(taken, ["bob@example.com", "ann@example.com"]);
    assert!(begun.elapsed() > Duration::from_secs(4), "the first one was given up");
    for letter in server.taken() {
        letter.token();
    }
}

/// The queue has an end, and so has its wait when the server stops.
#[tokio::test]
async fn one_too_many_becomes_a_file_at_once() {
    let server = SmtpServer::judging(|_| Verdict::Silence).await;
    let app = sending(&TestApp::start(&[]).await, server.url()).await;
    for number in 0..1_005 {
        let name = format!("guest-{number:04}@example.com");
        app.state.mailer.post(Email::invitation(&name, "Acme", &name, HOUR));
    }
    let folder = app.state.config.data_dir.join("mail");
    let files = || std::fs::read_dir(&folder).map_or(0, |entries| entries.filter(Result::is_ok).count());
    let begun = Instant::now();
    while files() < 5 && begun.elapsed() < Duration::from_secs(15) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(files(), 5);
    app.state.mailer.stop();
    app.settle().await;
    assert_eq!((files(), counted(&app, "failed"), server.taken().len()), (1_005, 1_005, 0));
}

/// The e-mails that are files in a process's folder.
fn files(folder: &Path) -> Vec<(String, String)> {
    let Ok(entries) = std::fs::read_dir(folder.join("data/mail")) else { return Vec::new() };
    let read = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).expect("an e-mail");
        (path.file_name().expect("a name").to_string_lossy().into_owned(), text)
    };
    entries.map(|entry| read(entry.expect("an entry").path())).collect()
}

/// Whether it is being sent, or waits for its next try.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_when_the_server_stops_becomes_a_file_and_no_secret_is_told() {
    let silent = SmtpServer::judging(|_| Verdict::Silence).await;
    let busy = SmtpServer::judging(|_| Verdict::Reply("451 later")).await;
    for server in [silent, busy] {
        let folder = folder();
        let url = format!("smtp://me:hunter2@{}?tls=none", server.address);
        let settings = [
            ("SECRET_KEY", KEY),
            ("TODO_MAIL_SMTP_URL", url.as_str()),
            ("TODO_MAIL_TIMEOUT", "5m"),
            ("TODO_MAIL_RETRY_PAUSE", "1m"),
            ("LOG_LEVEL", "trace"),
        ];
        let mut process = Process::spawn(folder.path(), &[], &settings);
        let url = process.url();
        register(&url, "ann").await;
        while server.tries() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let begun = Instant::now();
        process.terminate();
        let ended = tokio::task::spawn_blocking(|| process.ended()).await.expect("it ended");
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        let [(name, text)] = files(folder.path()).try_into().expect("one e-mail");
        assert!(ended.stderr.contains(&name), "{name} is not in {}", ended.stderr);
        let token = text.lines().find_map(|line| line.strip_prefix("    ")).expect("a token").trim();
        for secret in ["hunter2", token, "AG1lAGh1bnRlcjI="] {
            assert!(!ended.stderr.contains(secret), "{secret} is in the log");
        }
    }
}

/// A certificate for `localhost` that nobody trusts yet: for a server, and as PEM.
fn certificate() -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key))
        .expect("a TLS server");
    (TlsAcceptor::from(Arc::new(config)), pem(made.cert.der()))
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// What `doctor` says of SMTP: its status with its words, and all of what it wrote.
async fn doctor(settings: &[(&str, &str)]) -> (Vec<(String, String)>, String) {
    let folder = folder();
    let process = Process::spawn(folder.path(), &["doctor", "--json"], settings);
    let ended = tokio::task::spawn_blocking(|| process.ended()).await.expect("it ended");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.stderr));
    let checks = report["checks"].as_array().expect("checks").iter().filter(|it| it["check"] == "smtp");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (checks.map(|it| (text(&it["status"]), text(&it["found"]))).collect(), ended.stdout + &ended.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_encrypted_and_a_stranger_is_not_trusted() {
    let (tls, pem) = certificate();
    let folder = folder();
    let authority = folder.path().join("authority.pem").display().to_string();
    std::fs::write(&authority, pem).expect("a file");
    let wrapped = Doors { wrapped: Some(tls.clone()), ..Doors::default() };
    let upgraded = Doors { upgraded: Some(tls), ..Doors::default() };
    for (scheme, doors) in [("smtps", wrapped), ("smtp", upgraded)] {
        let server = SmtpServer::with(0, doors, |_| Verdict::Take).await;
        let url = format!("{scheme}://me:hunter2@localhost:{}", server.address.port());
        let settings = [("SECRET_KEY", KEY), ("TODO_MAIL_SMTP_URL", url.as_str())];
        let (found, _) = doctor(&settings).await;
        assert!(found[0].0 == "failed" && found[0].1.contains("certificate"), "{found:?}");
        let trusting = [settings.as_slice(), &[("SSL_CERT_FILE", authority.as_str())]].concat();
        let (found, _) = doctor(&trusting).await;
        assert!(found[0].0 == "ok" && found[0].1.contains("takes the password"), "{found:?}");

        let folder = self::folder();
        let mut process = Process::spawn(folder.path(), &[], &trusting);
        register(&process.url(), "ann").await;
        process.terminate();
        let ended = tokio::task::spawn_blocking(|| process.ended()).await.expect("it ended");
        assert_eq!(server.taken().len(), 1, "{}", ended.stderr);
        assert!(files(folder.path()).is_empty());
    }
    // One that offers no STARTTLS gets neither password nor e-mail.
    let plain = SmtpServer::start().await;
    let url = format!("smtp://me:hunter2@{}", plain.address);
    let (found, _) = doctor(&[("SECRET_KEY", KEY), ("TODO_MAIL_SMTP_URL", &url)]).await;
    assert!(found[0].0 == "failed" && found[0].1.contains("STARTTLS"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_says_what_is_wrong_with_it() {
    let (found, _) = doctor(&[("SECRET_KEY", KEY)]).await;
    assert!(found[0].0 == "ok" && found[0].1.contains("none is configured"), "{found:?}");

    let doors = Doors { login: Some(("me", "right")), ..Doors::default() };
    let strict = SmtpServer::with(0, doors, |_| Verdict::Take).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().expect("its address");
    let cases = [
        (format!("smtp://me:right@{}?tls=none", strict.address), "ok", "takes the password"),
        (format!("smtp://me:hunter2@{}?tls=none", strict.address), "failed", "refused user and password (535)"),
        (format!("smtp://me:hunter2@127.0.0.1:{}?tls=none", free_port()), "failed", "takes no e-mails"),
        (format!("smtp://me:hunter2@{silent}?tls=none"), "failed", "no answer within 1s"),
    ];
    for (url, status, words) in cases {
        let settings = [("SECRET_KEY", KEY), ("TODO_MAIL_SMTP_URL", url.as_str()), ("TODO_MAIL_TIMEOUT", "1s")];
        let (found, everything) = doctor(&settings).await;
        assert!(found[0].0 == status && found[0].1.contains(words), "{words}: {found:?}");
        assert!(!everything.contains("hunter2") && !everything.contains("AG1lAGh1bnRlcjI="), "{everything}");
        assert!(found[1].1.contains("TODO_MAIL_FROM"), "{found:?}");
    }
}
