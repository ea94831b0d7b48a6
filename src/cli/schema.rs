//! What the schema says, printed: `schema` and `policy`.

use std::io::Write;

use super::sample::told;
use crate::{
    api::{federation, schema},
    base::config::LimitsConfig,
};

/// Arguments of `schema`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct SchemaArgs {
    /// As a router composes it with those of other servers (TODO_SERVER_FEDERATION).
    #[arg(long)]
    federation: bool,
}

pub fn print_schema(args: SchemaArgs) -> anyhow::Result<()> {
    let schema = schema::build(&LimitsConfig::default(), args.federation).map_err(told)?;
    let mut sdl = schema::sdl(&schema);
    if args.federation {
        sdl = federation::subgraph_sdl(&sdl).map_err(told)?;
    }
    Ok(std::io::stdout().write_all(sdl.as_bytes())?)
}

pub fn print_policy() -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(schema::policy_page().map_err(told)?.as_bytes())?)
}
