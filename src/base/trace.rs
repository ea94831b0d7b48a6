//! Traces, as the rest of the server sees them: the spans of the log are also spans of a trace, where a collector is
//! configured. What only traces need is said through here, and costs one look at a flag where there is none.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::HeaderMap;
use opentelemetry::{
    Context, Value,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Whether this process traces: set once, before anything runs.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// What became of spans, in this process.
pub static COUNTS: Counts = Counts { exported: AtomicU64::new(0), dropped: AtomicU64::new(0) };

/// Spans that a collector took, and spans that are lost.
#[derive(Debug)]
pub struct Counts {
    pub exported: AtomicU64,
    /// The queue was full, the collector away, or it refused them.
    pub dropped: AtomicU64,
}

pub fn turn_on() {
    IS_ON.store(true, Ordering::Relaxed);
}

pub fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// For the field `otel.kind` of a span: `server` or `client`. Fields of these names are for traces alone.
pub fn kind(kind: &'static str) -> Option<&'static str> {
    is_on().then_some(kind)
}

/// Names a span in its trace; it needs a field `otel.name`.
pub fn name(span: &Span, name: impl FnOnce() -> String) {
    if is_on() {
        span.record("otel.name", name());
    }
}

pub fn attribute(span: &Span, key: &'static str, value: impl Into<Value>) {
    if is_on() {
        span.set_attribute(key, value);
    }
}

/// The span's work failed; `kind` is a code, and no text of anybody's.
pub fn failed(span: &Span, kind: &str) {
    if is_on() {
        span.set_status(Status::error(kind.to_owned()));
    }
}

/// Takes the span into the trace that a request came with (`traceparent`), if it came with one. To be called before the
/// span is entered.
pub fn continue_from(span: &Span, headers: &HeaderMap) {
    if is_on() && headers.contains_key("traceparent") {
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
        let _ = span.set_parent(context);
    }
}

/// Keeps the span and all within out of every trace. To be called before the span is entered.
pub fn leave_out(span: &Span) {
    if is_on() {
        // A parent that was not sampled.
        let (trace, parent) = (TraceId::from(1_u128), SpanId::from(1_u64));
        let unsampled = SpanContext::new(trace, parent, TraceFlags::NOT_SAMPLED, true, TraceState::NONE);
        let _ = span.set_parent(Context::new().with_remote_span_context(unsampled));
    }
}

/// `traceparent` for a request that is made within a span.
pub fn traceparent(span: &Span) -> Option<String> {
    if !is_on() {
        return None;
    }
    let context = span.context();
    let own = context.span().span_context().clone();
    own.is_valid().then(|| format!("00-{}-{}-{:02x}", own.trace_id(), own.span_id(), own.trace_flags().to_u8() & 1))
}

struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_collector_there_is_nothing_to_pass_on() {
        assert!(!is_on());
        assert_eq!(traceparent(&Span::current()), None);
        assert_eq!(kind("client"), None);
    }
}
