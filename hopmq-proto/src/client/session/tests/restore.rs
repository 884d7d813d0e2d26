use std::format;
use std::string::{String, ToString};
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use core::time::Duration;

use proptest::prelude::*;

use super::server::Server;
use super::wire::{Ended, Refusal, Wire};
use super::world::{MAX_ENTITIES, Op, World, op};
use super::*;
use crate::Instant;
use crate::amqp::{ReplyCode, WireError};
use crate::client::session::{
    Entity, EntityOutcome, Refused, Renamed, Restore, RestoreConfig, Step, Topology,
};
use crate::client::{CloseReason, CommandError, Lost, ServerClose};

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        3 => prop::sample::select(&[403_u16, 404, 406][..]).prop_map(|code| Refusal::Code(ReplyCode(code))),
        2 => (0..200_u64).prop_map(|s| Refusal::LockedUntil(Instant::ZERO + Duration::from_secs(s))),
        1 => (1..5_u32).prop_map(Refusal::Unexplained),
    ]
}

fn hard() -> impl Strategy<Value = Refusal> {
    let codes = &[501_u16, 502, 503, 504, 505, 530, 540, 541][..];
    (prop::sample::select(codes), any::<bool>())
        .prop_map(|(code, named)| Refusal::Hard(ReplyCode(code), named))
}

/// A pace that lets either side act at last.
fn pace() -> impl Strategy<Value = Vec<bool>> {
    prop::collection::vec(any::<bool>(), 0..20).prop_map(|mut pace| {
        pace.extend([true, false]);
        pace
    })
}

fn refuse(wire: &mut Wire, plan: &[Entity], refusals: &[(u16, Refusal)]) {
    for (at, refusal) in refusals {
        if !plan.is_empty() {
            let name = wire::name(&plan[usize::from(*at) % plan.len()].method());
            wire.refusals.insert(name, *refusal);
        }
    }
}

fn names(entities: &[Entity]) -> Vec<String> {
    entities.iter().map(ToString::to_string).collect()
}

fn world(ops: &[Op]) -> World {
    let mut world = World::new();
    for op in ops {
        world.apply(op);
    }
    world
}

fn is_needed_by(needed: &Entity, entity: &Entity) -> bool {
    match (needed, entity) {
        (Entity::Exchange(x), Entity::ExchangeBinding(b)) => {
            [&b.source, &b.destination].contains(&&x.exchange)
        }
        (Entity::Exchange(x), Entity::Binding(b)) => b.exchange == x.exchange,
        (Entity::Queue { name, .. }, Entity::Binding(b)) => b.queue == *name,
        _ => false,
    }
}

fn is_there(server: &Server, entity: &Entity) -> bool {
    match entity {
        Entity::Exchange(declare) => server.exchanges.contains_key(&declare.exchange),
        Entity::ExchangeBinding(b) => {
            server.bindings.contains(&(b.source.clone(), false, b.destination.clone(), b.routing_key.clone()))
        }
        Entity::Queue { name, .. } => server.queues.contains_key(name),
        Entity::Binding(b) => {
            server.bindings.contains(&(b.exchange.clone(), true, b.queue.clone(), b.routing_key.clone()))
        }
        Entity::Consumer(_) => unreachable!(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_is_refused_everything_is_decided_once(
        ops in prop::collection::vec(op(), 1..60),
        restart: bool,
        refusals in prop::collection::vec((any::<u16>(), refusal()), 0..6),
        pace in pace(),
        window in 1..10_usize,
    ) {
        let mut world = world(&ops);
        world.before_loss(restart);
        let plan = world.topology.plan(None);
        let mut wire = Wire { pace, ..Wire::default() };
        wire.config.window = window;
        refuse(&mut wire, &plan, &refusals);
        let outcomes = world.restore(&mut wire);

        prop_assert_eq!(outcomes.len(), plan.len());
        wire.assert_refused_once();
        for (outcome, planned) in outcomes.iter().zip(&plan) {
            let EntityOutcome { entity, result } = outcome;
            prop_assert_eq!(core::mem::discriminant(entity), core::mem::discriminant(planned));
            let refused: Vec<&Entity> = outcomes
                .iter()
                .filter(|needed| needed.result.is_err() && is_needed_by(&needed.entity, entity))
                .map(|needed| &needed.entity)
                .collect();
            match result {
                Ok(()) => {
                    prop_assert!(is_there(&world.server, entity), "{} is not there", entity);
                    prop_assert!(refused.is_empty());
                }
                Err(Refused::Needs(needed)) => prop_assert!(refused.contains(&&**needed)),
                Err(Refused::Server(_)) => prop_assert!(!wire.refusals.is_empty()),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        if refusals.is_empty() {
            prop_assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
        }

        // The next time only what was not refused is tried, and nothing of it is refused.
        world.before_loss(restart);
        wire.refused.clear();
        let outcomes = world.restore(&mut wire);
        prop_assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{:?}", outcomes);
        prop_assert_eq!(&wire.refused, &[] as &[String]);
    }

    #[test]
    fn what_ends_the_connection_ends_it_once(
        ops in prop::collection::vec(op(), 1..60),
        refusals in prop::collection::vec((any::<u16>(), prop_oneof![hard(), refusal()]), 1..6),
        pace in pace(),
    ) {
        let mut world = world(&ops);
        world.before_loss(true);
        let mut wire = Wire { pace, ..Wire::default() };
        refuse(&mut wire, &world.topology.plan(None), &refusals);
        // Queues that the server names are refused one by one.
        let bound = world.topology.plan(None).len();
        for connection in 0.. {
            prop_assert!(connection <= bound, "as many connections as entities");
            let restore = Restore::new(world.topology.plan(None), wire.config.clone());
            let ended = wire.run(restore, &mut world.server, &mut world.topology);
            let outcomes = match &ended {
                Ok(outcomes) => outcomes,
                Err(Ended { culprit, decided }) => {
                    let culprit = culprit.as_deref().expect("the server has said why");
                    prop_assert!(decided.iter().any(|o| o.entity == *culprit && o.result.is_err()));
                    decided
                }
            };
            for refused in outcomes.iter().filter(|outcome| outcome.result.is_err()) {
                world.topology.on_refused(&refused.entity);
            }
            if ended.is_ok() {
                break;
            }
            world.before_loss(false);
        }
        wire.assert_refused_once();
    }
}

/// A plan out of what was declared.
fn plan(methods: &[Method], named_by_server: &[(&str, queue::Declare)]) -> Vec<Entity> {
    let mut topology = Topology::new(MAX_ENTITIES);
    for (name, declare) in named_by_server {
        topology.on_done(&declare.clone().into(), Some(&short(name))).unwrap();
    }
    for method in methods {
        topology.on_done(method, None).unwrap();
    }
    topology.plan(None)
}

fn sent(restore: &mut Restore) -> Vec<Method> {
    let mut sent = vec![];
    loop {
        match restore.next(Instant::ZERO) {
            Step::Send(method) => sent.push(method),
            Step::OpenChannel => restore.on_channel_opened(),
            Step::Wait => return sent,
            other => panic!("{other:?}"),
        }
    }
}

fn closed(code: u16, (class_id, method_id): (u16, u16)) -> Arc<CloseReason> {
    let text = short("no");
    Arc::new(CloseReason::Server(ServerClose { code: ReplyCode(code), text, class_id, method_id }))
}

fn start(plan: &[Entity]) -> Restore {
    Restore::new(plan.to_vec(), RestoreConfig::default())
}

fn results(mut restore: Restore) -> Vec<(String, Result<(), Refused>)> {
    restore.take_outcomes().into_iter().map(|o| (o.entity.to_string(), o.result)).collect()
}

const DECLARE: (u16, u16) = (50, 10);
const EXCLUSIVE: queue::Declare = queue::Declare {
    queue: ShortStr::empty(),
    passive: false,
    durable: false,
    exclusive: true,
    auto_delete: false,
    no_wait: false,
    arguments: crate::amqp::FieldTable::new(),
};

#[test]
fn nothing_is_done_at_once() {
    assert_eq!(start(&[]).next(Instant::ZERO), Step::Done(vec![]));
}

#[test]
fn methods_do_not_wait_for_each_other_up_to_the_window() {
    let queues: Vec<Method> = (0..100).map(|n| declare_queue(&format!("q{n}"))).collect();
    let mut restore = start(&plan(&queues, &[]));
    assert_eq!(sent(&mut restore).len(), 64);
    let _ = restore.on_reply(&queue::DeclareOk::default().into());
    assert_eq!(sent(&mut restore).len(), 1);
}

#[test]
fn a_binding_is_sent_behind_its_queue_unless_the_server_is_to_name_that() {
    let plan = plan(
        &[declare_queue("q"), bind_queue("q", "amq.topic", "1"), bind_queue("amq.gen-1", "amq.topic", "2")],
        &[("amq.gen-1", EXCLUSIVE)],
    );
    assert_eq!(plan.len(), 4);
    let mut restore = start(&plan);
    let first = sent(&mut restore);
    assert_eq!(
        first,
        [Method::from(EXCLUSIVE), declare_queue("q"), bind_queue("q", "amq.topic", "1")],
        "not the other binding"
    );
    let renamed =
        restore.on_reply(&queue::DeclareOk { queue: short("amq.gen-9"), ..Default::default() }.into());
    assert_eq!(renamed, Some(Renamed { old: short("amq.gen-1"), new: short("amq.gen-9") }));
    assert_eq!(sent(&mut restore), [bind_queue("amq.gen-9", "amq.topic", "2")]);
}

#[test]
fn a_queue_that_the_server_named_is_kept_if_it_outlived_the_connection() {
    let shared = queue::Declare { exclusive: false, durable: true, ..EXCLUSIVE };
    let plan = plan(&[], &[("amq.gen-1", shared.clone())]);
    let look: Method =
        queue::Declare { queue: short("amq.gen-1"), passive: true, ..Default::default() }.into();
    let mut there = start(&plan);
    assert_eq!(sent(&mut there), [look]);
    let ok = queue::DeclareOk { queue: short("amq.gen-1"), ..Default::default() };
    assert_eq!(there.on_reply(&ok.into()), None);
    assert_eq!(there.next(Instant::ZERO), Step::CloseChannel);

    let mut gone = start(&plan);
    let _ = sent(&mut gone);
    gone.on_channel_closed(&closed(404, DECLARE), Instant::ZERO);
    assert_eq!(sent(&mut gone), [shared.into()], "another");
}

#[test]
fn what_was_sent_behind_a_refused_entity_is_sent_again() {
    let plan = plan(&[declare_queue("a"), declare_queue("b"), bind_queue("b", "amq.topic", "")], &[]);
    let mut restore = start(&plan);
    assert_eq!(sent(&mut restore).len(), 3);
    let reason = closed(406, DECLARE);
    restore.on_channel_closed(&reason, Instant::ZERO);
    assert_eq!(restore.next(Instant::ZERO), Step::OpenChannel);
    assert_eq!(restore.next(Instant::ZERO), Step::Wait);
    restore.on_channel_opened();
    assert_eq!(sent(&mut restore), [declare_queue("b"), bind_queue("b", "amq.topic", "")]);
    assert_eq!(results(restore), [("queue \"a\"".to_string(), Err(Refused::Server(reason)))]);
}

#[test]
fn what_needs_a_refused_entity_is_not_sent_and_says_so() {
    let plan =
        plan(&[declare_queue("a"), bind_queue("a", "amq.topic", ""), bind_queue("b", "amq.topic", "")], &[]);
    let mut restore = start(&plan);
    let _ = sent(&mut restore);
    restore.on_channel_closed(&closed(403, DECLARE), Instant::ZERO);
    assert_eq!(sent(&mut restore), [bind_queue("b", "amq.topic", "")], "it may be somebody else's");
    let skipped = results(restore).pop().unwrap();
    assert_eq!(skipped.1.unwrap_err().to_string(), "it needs queue \"a\", which was refused");
}

/// Trap of a fast reconnect: the server has not noticed yet that the old connection is dead.
#[test]
fn a_locked_queue_is_tried_until_the_server_must_have_noticed_while_others_go_on() {
    let plan = plan(&[declare_queue("a"), declare_queue("b"), bind_queue("a", "amq.topic", "")], &[]);
    let mut restore = start(&plan);
    let _ = sent(&mut restore);
    restore.on_channel_closed(&closed(405, DECLARE), Instant::ZERO);
    assert_eq!(sent(&mut restore), [declare_queue("b")], "the binding waits for its queue");
    let _ = restore.on_reply(&queue::DeclareOk::default().into());

    let mut waits = vec![];
    let mut now = Instant::ZERO;
    let reason = closed(405, DECLARE);
    loop {
        match restore.next(now) {
            Step::WaitUntil(until) => {
                waits.push((until - now).as_millis());
                now = until;
            }
            Step::OpenChannel => restore.on_channel_opened(),
            Step::Send(method) => {
                assert_eq!(method, declare_queue("a"));
                restore.on_channel_closed(&reason, now);
            }
            Step::Done(outcomes) => {
                let results: Vec<_> = outcomes.into_iter().map(|o| o.result).collect();
                let needs = Err(Refused::Needs(plan[0].clone().into()));
                assert_eq!(results, [Err(Refused::Server(reason)), Ok(()), needs]);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(waits[..7], [100, 200, 400, 800, 1600, 3200, 5000]);
    assert_eq!(waits.iter().sum::<u128>(), 120_000);
}

#[test]
fn a_lock_that_is_released_costs_one_more_try() {
    let plan = plan(&[declare_queue("a"), bind_queue("a", "amq.topic", "")], &[]);
    let mut wire = Wire { pace: vec![true, false], ..Wire::default() };
    let until = wire.now + Duration::from_millis(50);
    wire.refusals.insert("queue \"a\"".to_string(), Refusal::LockedUntil(until));
    let mut topology = Topology::new(MAX_ENTITIES);
    let restore = Restore::new(plan, wire.config.clone());
    let outcomes = wire.run(restore, &mut Server::default(), &mut topology).unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
    assert_eq!((wire.channels, wire.now - Instant::from_nanos(1)), (2, Duration::from_millis(100)));
    let bound = bind_queue("a", "amq.topic", "");
    assert_eq!(wire.sent, [declare_queue("a"), declare_queue("a"), bound], "the binding once, in the end");
}

#[test]
fn a_channel_that_ends_for_nothing_is_opened_again_but_not_for_ever() {
    let plan = plan(&[declare_queue("a"), declare_queue("b")], &[]);
    for named in [(0, 0), (50, 20)] {
        let mut restore = start(&plan);
        for _ in 0..2 {
            assert_eq!(sent(&mut restore).len(), 2);
            restore.on_channel_closed(&closed(541, named), Instant::ZERO);
        }
        assert_eq!(sent(&mut restore).len(), 2);
        restore.on_channel_closed(&closed(541, named), Instant::ZERO);
        assert_eq!(sent(&mut restore), [declare_queue("b")]);
    }
    let mut never_opened = start(&plan);
    let mut channels = 0;
    loop {
        match never_opened.next(Instant::ZERO) {
            Step::OpenChannel => {
                channels += 1;
                never_opened.on_channel_closed(&closed(504, (0, 0)), Instant::ZERO);
            }
            Step::Done(outcomes) => break assert!(outcomes.iter().all(|o| o.result.is_err())),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(channels, 4);
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let plan = plan(&[declare_queue("a"), declare_queue("b")], &[]);
    let mut restore = start(&plan);
    assert_eq!(restore.next(Instant::ZERO), Step::OpenChannel);
    restore.on_channel_opened();
    assert_eq!(restore.next(Instant::ZERO), Step::Send(declare_queue("a")));
    let error = CommandError::Wire(WireError::TooLong(5000));
    restore.on_not_sent(error.clone());
    assert_eq!(sent(&mut restore), [declare_queue("b")]);
    assert_eq!(results(restore), [("queue \"a\"".to_string(), Err(Refused::NotSent(error)))]);
}

#[test]
fn only_what_the_server_blames_is_blamed_for_the_end_of_a_connection() {
    let plan = plan(&[declare_queue("a"), declare_queue("b")], &[]);
    let blamed = |reason: Arc<CloseReason>| {
        let mut restore = start(&plan);
        let _ = sent(&mut restore);
        let _ = restore.on_reply(&queue::DeclareOk::default().into());
        let culprit = restore.on_connection_closed(&reason);
        let decided = restore.take_outcomes();
        assert_eq!(decided.len(), 1 + usize::from(culprit.is_some()));
        culprit
    };
    let b = Some(plan[1].clone());
    assert_eq!(blamed(closed(541, DECLARE)), b);
    assert_eq!(blamed(closed(541, (0, 0))), b);
    assert_eq!(blamed(closed(530, DECLARE)), b);
    assert_eq!(blamed(closed(541, (50, 20))), None, "another method");
    assert_eq!(blamed(closed(320, (0, 0))), None, "an operator");
    assert_eq!(blamed(Arc::new(CloseReason::Lost(Lost::Eof))), None);
    let mut idle = start(&plan);
    assert_eq!(idle.on_connection_closed(&closed(541, (0, 0))), None, "nothing was sent");
    assert_eq!(names(&plan), ["queue \"a\"", "queue \"b\""]);
}
