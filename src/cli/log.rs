//! The log, on standard error: for people on a terminal, JSON lines otherwise. A JSON line has the fields of the spans that
//! it was written in beside its own, so that each line of a request says whose it was: `request_id`, `organization`,
//! `actor`.

use std::{fmt, io::IsTerminal as _};

use opentelemetry::trace::TracerProvider as _;
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{Event, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::filter_fn,
    fmt::{
        FmtContext, FormatEvent, FormattedFields,
        format::{FormatFields, JsonFields, Writer},
        time::{FormatTime as _, SystemTime},
    },
    layer::{Context, Filter, SubscriberExt as _},
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::{
    base::{
        config::{Config, ConfigError},
        trace,
    },
    platform::trace_export::TraceExport,
};

/// Begins the log, once for a process; and the traces, where a collector is configured.
pub fn init(config: &Config) -> Result<Option<TraceExport>, ConfigError> {
    let export = TraceExport::new(&config.tracing)?;
    match &export {
        Some(export) => with_traces(config, export),
        None => alone(config),
    }
    Ok(export)
}

fn alone(config: &Config) {
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

/// The log beside the traces. Both see the same spans, whatever is logged: a span that only one of them saw would be a hole
/// in the other's way from a span to those around it.
fn with_traces(config: &Config, export: &TraceExport) {
    trace::turn_on();
    let tracer = export.provider().tracer("todo-platform");
    let traces = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_context_activation(false)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|metadata| metadata.is_span() && is_ours(metadata)));
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let filter = EventsAndOurSpans(filter(config));
    let registry = tracing_subscriber::registry().with(traces);
    if std::io::stderr().is_terminal() {
        registry.with(log.compact().with_filter(filter)).init();
    } else {
        registry.with(log.fmt_fields(JsonFields::new()).event_format(JsonLines).with_filter(filter)).init();
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("todo_platform")
}

/// Events as the setting says, and all spans of ours.
struct EventsAndOurSpans(EnvFilter);

impl<S: Subscriber> Filter<S> for EventsAndOurSpans {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        metadata.is_span() && is_ours(metadata) || Filter::enabled(&self.0, metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_span() && is_ours(metadata) {
            return Interest::always();
        }
        Filter::<S>::callsite_enabled(&self.0, metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
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
        // Names and kinds that are for traces alone.
        fields.extend(more.into_iter().filter(|(name, _)| !name.starts_with("otel.")));
    }
}
