//! Trace contexts, with OpenTelemetry as the judge: it reads what we write, and we read what it writes.

#![allow(clippy::unwrap_used)]

use hopmq_tests::scenarios;
use hopmq_tokio::{Properties, SpanId, TraceContext, TraceId, TraceState};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{
    SpanContext, SpanId as OtelSpanId, TraceContextExt, TraceFlags, TraceId as OtelTraceId,
    TraceState as OtelTraceState,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use proptest::prelude::*;

struct Headers<T>(T);

impl Injector for Headers<&mut Properties> {
    fn set(&mut self, key: &str, value: String) {
        self.0.set_header(key, value).unwrap();
    }
}

impl Extractor for Headers<&Properties> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.header(key)?.as_str()
    }

    fn keys(&self) -> Vec<&str> {
        self.0
            .headers
            .iter()
            .flat_map(|headers| headers.iter())
            .filter_map(|(key, _)| key.as_str().ok())
            .collect()
    }
}

/// What OpenTelemetry finds in the headers.
fn otel(properties: &Properties) -> Option<SpanContext> {
    let context = TraceContextPropagator::new().extract(&Headers(properties));
    let found = context.span().span_context().clone();
    found.is_valid().then_some(found)
}

fn assert_same(ours: &TraceContext, theirs: &SpanContext) {
    assert_eq!(ours.trace_id.to_bytes(), theirs.trace_id().to_bytes());
    assert_eq!(ours.parent_id.to_bytes(), theirs.span_id().to_bytes());
    assert_eq!(ours.sampled, theirs.is_sampled());
    assert_eq!(ours.state.to_string(), theirs.trace_state().header());
}

/// Ids that are not zero, and entries whose keys and values Level 1 allows, with no `=` behind the first.
fn context() -> impl Strategy<Value = TraceContext> {
    let trace = any::<[u8; 16]>().prop_filter_map("zero", TraceId::from_bytes);
    let span = any::<[u8; 8]>().prop_filter_map("zero", SpanId::from_bytes);
    let entries = proptest::collection::btree_map("[a-z][a-z0-9_*/-]{0,20}", "[!-+--<>-~]{1,20}", 0..=5);
    (trace, span, any::<bool>(), entries).prop_map(|(trace, span, sampled, entries)| {
        let mut state = TraceState::new();
        for (key, value) in &entries {
            state.insert(key, value).unwrap();
        }
        TraceContext { sampled, state, ..TraceContext::new(trace, span) }
    })
}

proptest! {
    #[test]
    fn opentelemetry_finds_what_we_inject(ours in context()) {
        let mut properties = Properties::new();
        ours.inject(&mut properties);
        assert_same(&ours, &otel(&properties).unwrap());
    }

    #[test]
    fn we_find_what_opentelemetry_injects(ours in context()) {
        let theirs = SpanContext::new(
            OtelTraceId::from_bytes(ours.trace_id.to_bytes()),
            OtelSpanId::from_bytes(ours.parent_id.to_bytes()),
            if ours.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() },
            true,
            OtelTraceState::from_key_value(ours.state.iter().map(|(key, value)| (key.to_owned(), value.to_owned())))
                .unwrap(),
        );
        let mut properties = Properties::new();
        let context = opentelemetry::Context::new().with_remote_span_context(theirs);
        TraceContextPropagator::new().inject_context(&context, &mut Headers(&mut properties));
        prop_assert_eq!(TraceContext::of_properties(&properties), Some(ours));
    }

    /// Whatever we accept, OpenTelemetry accepts, but for flags of later versions.
    #[test]
    fn we_accept_no_more_than_opentelemetry(
        parent in "0{2}-[0-9a-fA]{32}-[0-9a-f]{16}(-0[0-3]|-[0-9]{2}|-01-)",
    ) {
        let properties = Properties::new().with_header("traceparent", parent).unwrap();
        if let Some(ours) = TraceContext::of_properties(&properties) {
            assert_same(&ours, &otel(&properties).unwrap());
        }
    }
}

/// The trace of a publisher goes on in the consumer, with OpenTelemetry on either side and a broker between.
#[test]
fn a_trace_crosses_the_broker() {
    scenarios::current_thread().block_on(async {
        let broker = hopmq_tokio::Broker::start().await.unwrap();
        let channel = broker.connect().await.unwrap().open_channel().await.unwrap();
        let queue = channel.declare_queue("").exclusive().await.unwrap();
        let ours =
            TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=1").unwrap();
        let mut properties = Properties::new();
        ours.inject(&mut properties);
        let publisher = channel.publisher().await.unwrap();
        publisher.publish(queue.name(), "body").properties(&properties).await.unwrap();
        let got = channel.get(queue.name()).await.unwrap().unwrap();
        assert_same(&ours, &otel(&got.properties().unwrap()).unwrap());
    });
}
