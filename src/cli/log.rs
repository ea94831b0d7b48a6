//! The log, on standard error: for people on a terminal, JSON lines otherwise. A JSON line has the fields of the spans that
//! it was written in beside its own, so that each line of a request says whose it was: `request_id`, `organization`,
//! `actor`.

use std::{fmt, io::IsTerminal as _};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormattedFields,
        format::{FormatFields, JsonFields, Writer},
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

use crate::base::config::Config;

/// Begins the log, once for a process.
pub fn init(config: &Config) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(config))
        .with_writer(std::io::stderr)
        // Otherwise a log on a full disk would end whatever writes to it: the complaint goes to the same place, and panics.
        .log_internal_errors(false);
    if std::io::stderr().is_terminal() {
        log.compact().init();
    } else {
        log.fmt_fields(JsonFields::new()).event_format(JsonLines).init();
    }
}

fn filter(config: &Config) -> EnvFilter {
    EnvFilter::try_new(&config.log_level)
        .unwrap_or_default()
        .add_directive(
            // Every statement, with its values: never in a log.
            "sqlx=warn".parse().unwrap_or_default(),
        )
        .add_directive("sea_orm_migration=warn".parse().unwrap_or_default())
}

/// A line for each event.
struct JsonLines;

#[derive(Serialize)]
struct Line<'l> {
    timestamp: &'l str,
    level: &'l str,
    target: &'l str,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl<S> FormatEvent<S, JsonFields> for JsonLines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut fields = Map::new();
        // Of an inner span, and of the event itself, a field counts before one of the same name around it.
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(own) = span.extensions().get::<FormattedFields<JsonFields>>() {
                add(&mut fields, &own.fields);
            }
        }
        let mut own = String::new();
        context.field_format().format_fields(Writer::new(&mut own), event)?;
        add(&mut fields, &own);
        let metadata = event.metadata();
        let (level, target) = (metadata.level().as_str(), metadata.target());
        let line =
            serde_json::to_string(&Line { timestamp: &timestamp, level, target, fields }).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

fn add(fields: &mut Map<String, Value>, json: &str) {
    if let Ok(more) = serde_json::from_str::<Map<String, Value>>(json) {
        fields.extend(more);
    }
}
