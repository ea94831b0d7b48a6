//! What commands write on the terminal.

use std::{
    fmt::Display,
    io::{self, Write as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::base::error::Error;

/// A line of what a command has to say. Nobody may be reading any more (`| head`): what is done is done.
pub fn say(sentence: impl Display) {
    let _ = writeln!(io::stdout(), "{sentence}");
}

/// A failure of a service, for the operator's terminal.
pub fn failure(error: impl AsRef<Error>) -> anyhow::Error {
    anyhow::Error::msg(error.as_ref().describe())
}

/// A bar on standard error; nothing where that is not a terminal.
pub fn progress(steps: u64, template: &str) -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(steps).with_style(ProgressStyle::with_template(template)?.progress_chars("━╸─"));
    bar.enable_steady_tick(Duration::from_millis(200));
    Ok(bar)
}
