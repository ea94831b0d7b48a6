//! `serve`: the server itself.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::http::{playground::DemoAccounts, serve},
    app::{self, Options},
    base::config::Config,
    jobs::{maintenance, runner::Runner},
    platform::connections,
};

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// What this process does of all that a server does.
    #[arg(long, value_enum, default_value_t)]
    pub role: Role,
}

/// What a process does. Several of each may share a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Serve the API; send nothing to webhooks.
    Api,
    /// Send to webhooks; of HTTP, health and metrics alone.
    Worker,
    /// Both.
    #[default]
    All,
}

/// Text for the terminal, made from the server's URL.
pub type Greeting = Box<dyn FnOnce(&str) -> String + Send>;

/// What `demo` adds to a start.
#[derive(Default)]
pub struct Demo {
    pub accounts: DemoAccounts,
    /// Printed once the server listens; gets its URL.
    pub greeting: Option<Greeting>,
}

/// Serves until SIGTERM or Ctrl-C.
pub async fn serve(mut config: Arc<Config>, role: Role, demo: Demo) -> anyhow::Result<()> {
    connections::raise_file_limit();
    let address = (config.server.host, config.server.port);
    // First, so that a busy port is said before anything is made.
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("can't listen on {}:{} (HOST, PORT)", address.0, address.1))?;
    let local = listener.local_addr()?;
    // Port 0 is any; the server's own addresses (`base_url`) name the one it got.
    Arc::make_mut(&mut config).server.port = local.port();
    let options = Options { demo: demo.accounts, no_api: role == Role::Worker, ..Options::default() };
    let application = app::start(config.clone(), options).await?;
    let state = &application.state;
    let mut terminate = signal(SignalKind::terminate())?;
    println!("listening on http://{local}");
    if let Some(greeting) = demo.greeting {
        println!("{}", greeting(&format!("http://{local}")));
    }
    let jobs = CancellationToken::new();
    maintenance::start(state, &jobs);
    if role != Role::Api {
        state.background.spawn(application.worker.run(jobs.clone()));
        state.background.spawn(Runner::new(state.clone()).run(jobs.clone()));
    }
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    serve::serve(listener, application.router, state, &application.draining, stop).await;
    if tokio::time::timeout(config.server.drain, state.live.stop()).await.is_err() {
        tracing::warn!("some sockets did not close in time");
    }
    jobs.cancel();
    state.mailer.stop();
    // What answers did not wait for: mail, logs.
    state.background.close();
    if tokio::time::timeout(config.server.drain, state.background.wait()).await.is_err() {
        tracing::warn!("some work in the background did not finish in time");
    }
    // No request is under way any more: what was counted last.
    if let Err(error) = state.usage.flush().await {
        tracing::error!(error = %error.describe(), "the last usage is lost");
    }
    application.state.db.close().await;
    Ok(())
}
