use hopmq_proto::amqp::FieldValue;
use proptest::prelude::*;

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn parse(text: &str) -> Result<TraceContext, TraceContextError> {
    text.parse()
}

#[test]
fn the_example_of_the_recommendation() {
    let context = parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    assert_eq!(context.trace_id.to_string(), TRACE);
    assert_eq!(context.parent_id.to_bytes(), [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
    assert!(context.sampled && !context.random && context.state.is_empty());
    assert_eq!(format!("{:?}", context.parent_id), "SpanId(00f067aa0ba902b7)");
}

#[test]
fn flags_that_nobody_knows_are_not_sent_on() {
    for (flags, sent) in [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("ff", "03"), ("fc", "00")]
    {
        let context = parse(&format!("00-{TRACE}-{SPAN}-{flags}")).unwrap();
        assert_eq!(context.traceparent(), format!("00-{TRACE}-{SPAN}-{sent}"));
    }
}

#[test]
fn a_later_version_is_read_as_far_as_it_is_known() {
    for (rest, sampled) in [("01", true), ("00", false), ("03-anything", true), ("01-", true)] {
        let context = parse(&format!("cc-{TRACE}-{SPAN}-{rest}")).unwrap();
        assert_eq!((context.sampled, context.random), (sampled, false), "{rest}");
        assert_eq!(context.traceparent(), format!("00-{TRACE}-{SPAN}-0{}", u8::from(sampled)));
    }
    for rest in ["01.", "01x", "0", "", "0g-x"] {
        let text = format!("cc-{TRACE}-{SPAN}-{rest}");
        assert_eq!(parse(&text), Err(TraceContextError::TraceParent), "{rest}");
    }
}

#[test]
fn what_is_no_traceparent() {
    for text in [
        String::new(),
        "00".to_owned(),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-01-"),
        format!("00-{TRACE}-{SPAN}-01-x"),
        format!("00-{TRACE}-{SPAN}-1"),
        format!("00-{TRACE}-{SPAN}"),
        format!(" 00-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-01 "),
        format!("0-{TRACE}-{SPAN}-01"),
        format!("0x-{TRACE}-{SPAN}-01"),
        format!("00_{TRACE}-{SPAN}-01"),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
        format!("00-{TRACE}-{SPAN}-0A"),
        format!("00-{SPAN}-{TRACE}-01"),
        format!("00-{TRACE}0-{SPAN}-01"),
        format!("00-{}é-{SPAN}-01", &TRACE[..30]),
    ] {
        assert_eq!(parse(&text), Err(TraceContextError::TraceParent), "{text}");
    }
    let zeros = "0".repeat(32);
    for text in [format!("00-{zeros}-{SPAN}-01"), format!("00-{TRACE}-{}-01", &zeros[..16])] {
        assert_eq!(parse(&text), Err(TraceContextError::Zero), "{text}");
    }
}

#[test]
fn states_that_are_read() {
    let (key, value) = ("k".repeat(256), "v".repeat(256));
    let longest = format!("{key}={value}");
    let every = "0abcdefghijklmnopqrstuvwxyz0123456789_-*/@= !\"#$%&'()*+-./0:;<>?@AZ[\\]^_`az{|}~";
    for (text, read) in [
        ("", ""),
        (" \t", ""),
        (",", ""),
        ("foo=1,", "foo=1"),
        (", foo=1 ,\t, bar=2\t", "foo=1,bar=2"),
        ("foo=  1  ", "foo=  1"),
        ("tenant@system=1", "tenant@system=1"),
        (&longest, &longest),
        (every, every),
    ] {
        assert_eq!(text.parse::<TraceState>().unwrap().to_string(), read, "{text}");
    }
}

#[test]
fn states_that_are_none() {
    for text in [
        "foo", "foo=", "=1", "foo =1", "Foo=1", "@foo=1", "_foo=1", "foo=1=2", "foo.x=1", "foo=é", "foo=a\tb",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([format!("{}=1", "k".repeat(257)), format!("k={}", "v".repeat(257)), "a=1\n".to_owned()])
    {
        assert_eq!(text.parse::<TraceState>(), Err(TraceContextError::TraceState), "{text}");
        assert_eq!(
            TraceContext::parse(&format!("00-{TRACE}-{SPAN}-00"), &text).unwrap().state,
            TraceState::new()
        );
    }
    assert_eq!("foo=1,bar=2,foo=1".parse::<TraceState>(), Err(TraceContextError::DuplicateKey));
}

#[test]
fn thirty_two_entries_at_most() {
    let entries = |count| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
    let mut state: TraceState = entries(32).parse().unwrap();
    for text in [entries(33), entries(32) + ",", ",".repeat(32)] {
        assert_eq!(text.parse::<TraceState>(), Err(TraceContextError::TooManyEntries), "{text}");
    }
    state.insert("new", "1").unwrap();
    assert_eq!((state.iter().count(), state.get("k31"), state.get("k30")), (32, None, Some("v")));
    state.insert("k7", "again").unwrap();
    assert_eq!(state.iter().next(), Some(("k7", "again")));
    assert_eq!((state.iter().count(), state.remove("k7").as_deref()), (32, Some("again")));
    assert_eq!((state.iter().count(), state.remove("k7")), (31, None));
    assert_eq!(state.insert("K", "1"), Err(TraceContextError::TraceState));
    assert_eq!(state.insert("k", "1 "), Err(TraceContextError::TraceState));
}

#[test]
fn injecting_replaces_what_was_there() {
    let old = TraceContext::parse(&format!("00-{SPAN}{SPAN}-{SPAN}-01"), "old=1").unwrap();
    let new = parse(&format!("00-{TRACE}-{SPAN}-01")).unwrap();
    let mut properties = Properties::new().with_header("kept", 1).unwrap();
    old.inject(&mut properties);
    assert_eq!(TraceContext::of_properties(&properties), Some(old));
    new.inject(&mut properties);
    assert_eq!(TraceContext::of_properties(&properties), Some(new));
    assert_eq!((properties.header("kept"), properties.header(TRACESTATE)), (Some(&FieldValue::I32(1)), None));
}

#[test]
fn headers_of_others() {
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let of = |name: &str, value: FieldValue| {
        TraceContext::of_properties(&Properties::new().with_header(name, value).unwrap())
    };
    assert_eq!(of("TraceParent", parent.as_str().into()), parse(&parent).ok());
    assert_eq!(of("traceparent", parent.as_bytes().into()), parse(&parent).ok());
    assert_eq!(of("traceparent", 7.into()), None);
    assert_eq!(of("traceparent", "7".into()), None);
    assert_eq!(of("tracestate", "a=1".into()), None);
    assert_eq!(TraceContext::of_properties(&Properties::new()), None);
}

fn context() -> impl Strategy<Value = TraceContext> {
    let id = any::<[u8; 16]>().prop_filter_map("zero", TraceId::from_bytes);
    let span = any::<[u8; 8]>().prop_filter_map("zero", SpanId::from_bytes);
    let entry = ("[a-z0-9][a-z0-9_*/@-]{0,255}", "[ -+--<>-~]{0,255}[!-+--<>-~]");
    let entries = proptest::collection::btree_map(entry.0, entry.1, 0..=32);
    (id, span, any::<bool>(), any::<bool>(), entries).prop_map(|(id, span, sampled, random, entries)| {
        let mut state = TraceState::new();
        for (key, value) in &entries {
            state.insert(key, value).unwrap();
        }
        assert_eq!(state.iter().count(), entries.len());
        TraceContext { sampled, random, state, ..TraceContext::new(id, span) }
    })
}

proptest! {
    #[test]
    fn what_is_injected_is_found(context in context()) {
        let mut properties = Properties::new();
        context.inject(&mut properties);
        let mut bytes = bytes::BytesMut::new();
        properties.encode(&mut bytes).unwrap();
        let properties = Properties::decode(&bytes).unwrap();
        prop_assert_eq!(TraceContext::of_properties(&properties), Some(context.clone()));
        prop_assert_eq!(context.traceparent().len(), 55);
        prop_assert_eq!(TraceContext::parse(&context.traceparent(), &context.state.to_string()), Ok(context));
    }

    #[test]
    fn any_text_as_traceparent(text in any::<String>()) {
        prop_assert!(text.parse::<TraceContext>().is_err());
    }

    /// Whatever is accepted is, but for unknown flags, what is sent on.
    #[test]
    fn nearly_a_traceparent(
        text in "(00|01|ff|0F)-[0-9a-f]{31}[0-9a-gA-]-[0-9a-f]{16}-[0-9a-f]{1,2}(|-|x|-x)", at in 0..60usize, with: char,
    ) {
        let mut changed: Vec<char> = text.chars().collect();
        if at < changed.len() {
            changed[at] = with;
        }
        for text in [text, changed.into_iter().collect()] {
            if let Ok(context) = parse(&text) {
                prop_assert_eq!(&context.traceparent()[2..53], &text[2..53]);
                prop_assert!(text.len() == 55 || !text.starts_with("00"));
            }
        }
    }

    /// What is accepted comes back the same, and is accepted again.
    #[test]
    fn any_text_as_tracestate(text in "([a-cA@ \t,=é]|=1,|,a=)*") {
        if let Ok(state) = text.parse::<TraceState>() {
            prop_assert!(state.iter().count() <= 32);
            prop_assert_eq!(state.to_string().parse(), Ok(state));
        }
    }
}
