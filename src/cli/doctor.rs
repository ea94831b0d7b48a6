//! `doctor`: looks at everything that the server depends on, and says of each what was found and what to do. It changes
//! nothing that stays: what it writes, to see that it can, it takes away again.

mod clocks;
mod database;
mod finding;
mod machine;
mod mail;
mod redis;
mod settings;
mod traces;

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use anyhow::ensure;
use futures_util::future::join_all;
use serde_json::json;
use tokio::{sync::oneshot, time::timeout};

use self::finding::{Finding, Status};
use super::console::say;
use crate::base::config::Config;

/// How long each part may take. They are looked at side by side.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `doctor`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct DoctorArgs {
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Prints what is found; an error when something failed. Keeps no log: what goes wrong is in the findings.
pub fn run(args: DoctorArgs, file: Option<&Path>) -> anyhow::Result<()> {
    let findings = match Config::load(file) {
        Ok(config) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let findings = runtime.block_on(look_at(&Arc::new(config), file));
            // What did not end in time (a name server that is silent) is not waited for.
            runtime.shutdown_background();
            findings
        }
        Err(error) => vec![Finding::failed(
            "configuration",
            error.to_string().trim_start_matches("configuration: "),
            "correct the setting, see docs/CONFIGURATION.md; nothing else can be looked at before",
        )],
    };
    print(&findings, args.json);
    let failed = findings.iter().filter(|finding| finding.status == Status::Failed).count();
    ensure!(failed == 0, "{failed} check(s) failed");
    Ok(())
}

async fn look_at(config: &Arc<Config>, file: Option<&Path>) -> Vec<Finding> {
    let mut findings = settings::look_at(config, file);
    let machine = config.clone();
    let parts: [(&'static str, _); 5] = [
        ("files", boxed(on_a_thread(move || machine::look_at(&machine)))),
        ("database", boxed(database::look_at(config.clone()))),
        ("redis", boxed(redis::look_at(config.clone()))),
        ("smtp", boxed(mail::look_at(config.clone()))),
        ("traces", boxed(traces::look_at(config.clone()))),
    ];
    let looked = join_all(parts.map(|(name, part)| async move {
        timeout(PATIENCE, part).await.unwrap_or_else(|_| {
            let found = format!("no answer within {} s", PATIENCE.as_secs());
            vec![Finding::failed(name, found, "see whether it is overloaded, or out of reach behind a firewall")]
        })
    }));
    findings.extend(looked.await.into_iter().flatten());
    findings
}

type Part = std::pin::Pin<Box<dyn Future<Output = Vec<Finding>> + Send>>;

fn boxed(part: impl Future<Output = Vec<Finding>> + Send + 'static) -> Part {
    Box::pin(part)
}

/// Files may be on a disk that does not answer: on a thread that nobody has to wait for.
async fn on_a_thread(look: impl FnOnce() -> Vec<Finding> + Send + 'static) -> Vec<Finding> {
    let (done, looked) = oneshot::channel();
    std::thread::spawn(move || done.send(look()));
    looked.await.unwrap_or_default()
}

fn print(findings: &[Finding], as_json: bool) {
    let worst = findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok);
    if as_json {
        say(json!({ "status": worst, "version": env!("CARGO_PKG_VERSION"), "checks": findings }));
        return;
    }
    for finding in findings {
        say(finding);
    }
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    say(format_args!(
        "{} ok, {} warning(s), {} failed",
        count(Status::Ok),
        count(Status::Warning),
        count(Status::Failed)
    ));
}
