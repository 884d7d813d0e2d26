//! Queues that go with their last consumer, and what becomes of them on the way back.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use hopmq_proto::Engine;
use hopmq_proto::amqp::{Method, ShortStr, basic, channel, connection, queue};
use hopmq_proto::client::{
    ChannelId, CloseReason, Config, EntityFilter, Event, Heartbeat, Lost, Recovery, Token, WhenLost,
};

use crate::net::{Net, short};
use crate::other::Other;
use crate::script::{Act, Script};
use crate::support::method;

fn auto_delete(name: &str) -> queue::Declare {
    queue::Declare { queue: short(name), auto_delete: true, ..queue::Declare::default() }
}

fn consume(queue: &str, exclusive: bool) -> basic::Consume {
    basic::Consume { queue: short(queue), consumer_tag: short(queue), exclusive, ..basic::Consume::default() }
}

fn not_restored(events: &[Event]) -> Vec<Token> {
    let ended = events.iter().filter_map(|event| match event {
        Event::ConsumerNotRestored { consumer, .. } => Some(*consumer),
        _ => None,
    });
    ended.collect()
}

fn losses(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Lost { .. })).count()
}

// With a broker.

/// Auto-delete queues on one channel, with a consumer each.
fn with_queues<const N: usize>(net: &mut Net, names: [&'static str; N]) -> (ChannelId, [Token; N]) {
    let channel = net.channel();
    net.confirms(channel);
    names.iter().for_each(|name| _ = net.declare(channel, auto_delete(name)));
    (channel, names.map(|name| net.consume(channel, &ShortStr::from_static(name))))
}

/// How many messages this consumer is given of what is published to a queue now.
fn gets(net: &mut Net, channel: ChannelId, queue: &str, consumer: Token) -> usize {
    let _ = net.publish(channel, queue, "1", WhenLost::Resend);
    net.run();
    net.delivered(consumer).len()
}

#[test]
fn a_consumer_that_is_refused_does_not_take_the_auto_delete_queue_of_another_with_it() {
    let filter = EntityFilter::new(|entity| entity.to_string() != "queue \"gone\"");
    let mut net = Net::new(Recovery { filter: Some(filter), ..Recovery::default() });
    let channel = net.channel();
    net.confirms(channel);
    let own = net.declare(channel, auto_delete(""));
    net.declare(channel, auto_delete("gone"));
    let [consumer, gone] = [&own, &ShortStr::from_static("gone")].map(|queue| net.consume(channel, queue));
    net.cut_and_recover();
    assert_eq!(not_restored(&net.events), [gone]);
    assert_eq!(losses(&net.events), 1, "its queue has not gone");
    assert_eq!(gets(&mut net, channel, own.as_str().unwrap(), consumer), 1);
}

/// Somebody else consumes exclusively from these, so that consumers of ours are refused.
fn taken_by_another(net: &mut Net, names: &[&str]) {
    let mut other = Other::new(&mut net.broker, net.now);
    for name in names {
        other.call(&mut net.broker, auto_delete(name), net.now).unwrap();
        other.call(&mut net.broker, consume(name, true), net.now).unwrap();
    }
}

#[test]
fn only_those_that_are_refused_are_left_out_wherever_they_stand() {
    let names = ["q0", "q1", "q2", "q3"];
    for taken in 1..15 {
        let mut net = Net::new(Recovery::default());
        let (channel, consumers) = with_queues(&mut net, names);
        net.cut();
        let is_taken = |at: &usize| taken >> at & 1 == 1;
        let refused: Vec<usize> = (0..4).filter(is_taken).collect();
        taken_by_another(&mut net, &refused.iter().map(|at| names[*at]).collect::<Vec<_>>());
        net.pass(Duration::from_secs(60));
        assert!(net.session.is_open());
        let mut ended = not_restored(&net.events);
        ended.sort_unstable();
        assert_eq!(ended, refused.iter().map(|at| consumers[*at]).collect::<Vec<_>>(), "{refused:?}");
        for at in (0..4).filter(|at| !is_taken(at)) {
            assert_eq!(gets(&mut net, channel, names[at], consumers[at]), 1, "{refused:?}: {at}");
        }
    }
}

#[test]
fn an_auto_delete_queue_that_goes_with_the_dead_connection_while_others_wait_is_declared_again() {
    let mut net = Net::new(Recovery::default());
    let (channel, [consumer]) = with_queues(&mut net, ["auto"]);
    net.declare(channel, queue::Declare { queue: short("jobs"), durable: true, ..queue::Declare::default() });
    net.call(channel, consume("jobs", true));
    let dead = net.cut_unnoticed();
    net.pass(Duration::from_secs(5));
    assert!(!net.session.is_open(), "the dead connection has its consumers still");
    assert!(net.broker.queue("/", "auto").is_some());
    net.broker.connection(dead).unwrap().handle_eof(net.now);
    assert!(net.broker.queue("/", "auto").is_none(), "it goes with them");
    net.pass(Duration::from_secs(20));
    assert!(net.session.is_open());
    assert_eq!(not_restored(&net.events), []);
    assert_eq!(gets(&mut net, channel, "auto", consumer), 1);
}

#[test]
fn a_consumer_follows_its_queue_through_every_name_that_this_gets() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    net.confirms(channel);
    let first =
        net.declare(channel, queue::Declare { exclusive: true, auto_delete: false, ..auto_delete("") });
    net.cut_and_recover();
    let consumer = net.consume(channel, &first);
    for _ in 0..20 {
        net.cut();
        net.pass(Duration::from_secs(40)); // so long that the backoff begins anew
    }
    assert_eq!(not_restored(&net.events), []);
    assert_eq!(gets(&mut net, channel, first.as_str().unwrap(), consumer), 1);
}

// With a server that does as it is told.

fn script(recovery: Recovery) -> Script {
    Script::with(Config { heartbeat: Heartbeat::Off, ..Config::default() }, recovery)
}

/// A queue and its consumer, on a channel of their own.
fn with_queue(script: &mut Script) {
    let channel = script.channel();
    let _ = script.call(channel, auto_delete("auto"));
    let _ = script.call(channel, consume("auto", false));
    script.run();
}

fn close(reply_code: u16, (class_id, method_id): (u16, u16)) -> channel::Close {
    channel::Close { reply_code, reply_text: ShortStr::from_static("refused"), class_id, method_id }
}

fn refuse(on: u16, code: u16) -> Act {
    Act::Say(on, close(code, (60, 20)).into())
}

/// After a loss the server refuses to start the consumer with this code, always.
fn always_refused(recovery: Recovery, code: u16) -> Script {
    let mut script = script(recovery);
    with_queue(&mut script);
    script.act = Box::new(move |on, method| match method {
        Method::BasicConsume(_) => refuse(on, code),
        _ => Act::Answer,
    });
    script.cut();
    script.pass(Duration::from_secs(60));
    assert!(script.session.is_open());
    assert_eq!(not_restored(&script.events).len(), 1);
    script
}

#[test]
fn for_a_queue_that_is_gone_all_begins_anew_once_and_then_it_is_given_up() {
    let mut script = always_refused(Recovery::default(), 404);
    let reasons: Vec<_> = script
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Lost { reason } => Some((**reason).clone()),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, [CloseReason::Lost(Lost::Eof), CloseReason::Lost(Lost::QueueGone)]);
    script.cut();
    script.pass(Duration::from_secs(60));
    assert!(script.session.is_open());
    let declares = |(_, method): &(u16, Method)| matches!(method, Method::QueueDeclare(_));
    assert!(!script.sent.iter().any(declares), "it would never go, without a consumer");
}

#[test]
fn the_server_is_told_before_all_begins_anew() {
    let mut script = script(Recovery::default());
    with_queue(&mut script);
    let closes = Rc::new(Cell::new(0));
    let closed = closes.clone();
    script.act = Box::new(move |on, method| match method {
        Method::BasicConsume(_) if closed.get() == 0 => refuse(on, 404),
        Method::ConnectionClose(close) => {
            closed.set(close.reply_code);
            Act::Answer
        }
        _ => Act::Answer,
    });
    script.cut();
    script.pass(Duration::from_secs(60));
    assert_eq!(closes.get(), 200);
    assert_eq!((losses(&script.events), not_restored(&script.events)), (2, vec![]));
}

#[test]
fn all_may_begin_anew_in_each_absence() {
    let mut script = script(Recovery::default());
    with_queue(&mut script);
    for absence in 1..4 {
        let mut refused = false;
        script.act = Box::new(move |on, method| match method {
            Method::BasicConsume(_) if !std::mem::replace(&mut refused, true) => refuse(on, 404),
            _ => Act::Answer,
        });
        script.cut();
        script.pass(Duration::from_secs(60));
        assert!(script.session.is_open());
        assert_eq!((losses(&script.events), not_restored(&script.events)), (2 * absence, vec![]));
    }
}

#[test]
fn where_there_may_be_no_other_connection_the_consumer_is_left_out() {
    let rounds = |max| Recovery { max_rounds: Some(max), ..Recovery::default() };
    let within = |most| Recovery { max_elapsed: Some(Duration::from_secs(most)), ..Recovery::default() };
    let most = Config::default().connect_timeout.as_secs();
    for (recovery, times) in [(rounds(2), 1), (rounds(3), 2), (within(most), 1), (within(most + 2), 2)] {
        let script = always_refused(recovery.clone(), 404);
        assert_eq!(losses(&script.events), times, "{recovery:?}");
    }
}

#[test]
fn what_is_refused_for_another_reason_is_left_out_at_once() {
    assert_eq!(losses(&always_refused(Recovery::default(), 403).events), 1);
}

#[test]
fn for_a_queue_that_the_filter_leaves_out_nothing_begins_anew() {
    let filter = Some(EntityFilter::new(|_| false));
    let script = always_refused(Recovery { filter, ..Recovery::default() }, 404);
    assert_eq!(losses(&script.events), 1);
}

#[test]
fn a_queue_that_is_gone_as_the_connection_is_closed_is_nothing_to_the_next_one() {
    let mut script = script(Recovery { max_rounds: Some(4), ..Recovery::default() });
    with_queue(&mut script);
    script.act = Box::new(|_, method| match method {
        Method::BasicConsume(_) => Act::Nothing,
        _ => Act::Answer,
    });
    script.cut();
    script.pass(Duration::from_secs(1));
    script.act = Box::new(|_, _| Act::Answer);
    let mut both = method(1, close(404, (60, 20)));
    let channel::Close { reply_text, .. } = close(0, (0, 0));
    both.unsplit(method(0, connection::Close { reply_code: 320, reply_text, class_id: 0, method_id: 0 }));
    script.session.handle_input(&mut both, script.now);
    script.pass(Duration::from_secs(60));
    assert!(script.session.is_open());
    assert_eq!((losses(&script.events), not_restored(&script.events)), (2, vec![]));
}

/// The queues whose consumers the server was asked to start in this life, in the order of that.
fn started(script: &Script) -> Vec<String> {
    let queue = |(_, method): &(u16, Method)| match method {
        Method::BasicConsume(consume) => Some(consume.queue.to_string()),
        _ => None,
    };
    script.sent.iter().filter_map(queue).collect()
}

/// Five consumers on a channel; after a loss this one is refused, until the second attempt to start them one by one. Gives the order of the
/// first attempt, of the last, and after another loss.
fn orders(locked: &'static str) -> [Vec<String>; 3] {
    let mut script = script(Recovery::default());
    let channel = script.channel();
    for name in ["plain", "auto", "exclusive", "other-exclusive", "auto-exclusive"] {
        let _ = script
            .call(channel, queue::Declare { auto_delete: name.starts_with("auto"), ..auto_delete(name) });
        let _ = script.call(channel, consume(name, name.contains("exclusive")));
        script.run();
    }
    script.act = Box::new(move |on, method| match method {
        Method::BasicConsume(consume) if consume.queue == locked => refuse(on, 403),
        _ => Act::Answer,
    });
    script.cut();
    script.pass(Duration::from_millis(900));
    let first = started(&script);
    script.act = Box::new(|_, _| Act::Answer);
    script.pass(Duration::from_secs(6));
    let all = started(&script);
    assert_eq!((losses(&script.events), not_restored(&script.events)), (1, vec![]));
    script.cut();
    script.pass(Duration::from_secs(6));
    [first[..5].to_vec(), all[all.len() - 5..].to_vec(), started(&script)]
}

#[test]
fn those_are_started_first_that_are_likelier_to_be_refused_and_lose_less_by_it() {
    let first = ["exclusive", "other-exclusive", "plain", "auto-exclusive", "auto"];
    let last = ["other-exclusive", "plain", "exclusive", "auto-exclusive", "auto"];
    assert_eq!(orders("other-exclusive"), [first, last, first]);
    let last = ["auto-exclusive", "exclusive", "other-exclusive", "plain", "auto"];
    assert_eq!(orders("auto-exclusive"), [first, last, first]);
}
