//! The commands: one file each.

mod admin;
mod backup;
mod console;
mod demo;
mod doctor;
mod draft;
mod fill;
mod health;
mod import;
mod log;
mod migrate;
mod schema;
mod serve;

use std::{path::PathBuf, sync::Arc};

use clap::{Parser, Subcommand};

use self::serve::Role;
use crate::{
    base::{config::Config, enums::Priority},
    platform::trace_export::TraceExport,
};
use fastrand::Rng;
use todo_sample as sample;

/// The Enterprise Todo Platform: a multi-tenant work-management server with a GraphQL API.
#[derive(Debug, Parser)]
#[command(name = "todo-platform", version)]
struct Cli {
    /// Settings; `todo-platform.toml` in the working folder when left out.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API and send to webhooks (the default).
    Serve(serve::ServeArgs),
    /// Serve with a demo organization to look around in.
    Demo,
    /// Fill organizations for measuring, in batches.
    Fill(fill::FillArgs),
    /// Import items from a table, or from another tool's export.
    Import(Box<import::ImportArgs>),
    /// Bring the database's schema up to date.
    Migrate,
    /// Copy the embedded database into a file, beside a running server.
    Backup(backup::BackupArgs),
    /// Put a backup in the embedded database's place, while no server runs.
    Restore(backup::RestoreArgs),
    /// Ask the server on this machine whether it is ready; ends with 1 when it is not.
    Health,
    /// Look at everything that the server depends on; ends with 1 when something failed.
    Doctor(doctor::DoctorArgs),
    /// Owners, plans, sessions and keys, by whoever runs the server.
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    /// Print the GraphQL schema.
    Schema(schema::SchemaArgs),
    /// Print docs/POLICY.md: who may do what.
    Policy,
}

/// Runs the command that the command line names.
pub fn run() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Schema(args)) => return schema::print_schema(args),
        Some(Command::Policy) => return schema::print_policy(),
        Some(Command::Doctor(args)) => return doctor::run(args, cli.config.as_deref()),
        _ => {}
    }
    let config = Arc::new(Config::load(cli.config.as_deref())?);
    let export = log::init(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let exporting = export.map(TraceExport::start);
        let done = match cli.command {
            None => serve::serve(config, Role::default(), serve::Demo::default()).await,
            Some(Command::Serve(args)) => serve::serve(config, args.role, serve::Demo::default()).await,
            Some(Command::Migrate) => migrate::run(&config).await,
            Some(Command::Backup(args)) => backup::back_up(&args, &config).await,
            Some(Command::Restore(args)) => backup::restore(&args, &config).await,
            Some(Command::Health) => health::run(&config).await,
            Some(Command::Admin(command)) => admin::run(command, config).await,
            Some(Command::Demo) => demo::run(config).await,
            Some(Command::Fill(args)) => fill::run(&args, &config).await,
            Some(Command::Import(args)) => import::run(&args, &config).await,
            Some(Command::Schema(_) | Command::Policy | Command::Doctor(_)) => Ok(()),
        };
        if let Some(exporting) = exporting {
            exporting.finish().await;
        }
        done
    })
}

/// Priorities, with the weights of a usual backlog.
pub fn priority(rng: &mut Rng) -> Priority {
    [Priority::Low, Priority::Medium, Priority::High, Priority::Urgent][sample::weighted(rng, &[20, 46, 25, 9])]
}
