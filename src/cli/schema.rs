//! What the schema says, printed: `schema` and `policy`.

use std::io::Write;

use super::console::failure;
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
    let schema = schema::build(&LimitsConfig::default(), args.federation).map_err(failure)?;
    let mut sdl = schema::sdl(&schema);
    if args.federation {
        sdl = federation::subgraph_sdl(&sdl).map_err(failure)?;
    }
    Ok(std::io::stdout().write_all(sdl.as_bytes())?)
}

pub fn print_policy() -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(schema::policy_page().map_err(failure)?.as_bytes())?)
}
