use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, join, select};
use hopmq::{
    Backoff, CallError, Channel, CloseReason, CommandError, ConnectError, ConnectOptions, Connection,
    ConnectionEvent, ConnectionState, Consumer, ConsumerEnd, Error, Lost, OnError, PublishError, Recovery,
    RecoveryMode, Refused, RpcError, SettleError, WhenLost,
};

use super::line::{Line, NOWHERE};
use super::{Server, after_polls, eventually, publish_each, timeout};

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(20);
/// For what is not to come.
const SHORT: Duration = Duration::from_millis(200);

/// At once, and again and again.
fn recovery() -> Recovery {
    let ms = Duration::from_millis;
    let backoff = Backoff { initial: ms(5), max: ms(50), ..Backoff::default() };
    Recovery { backoff, ..Recovery::default() }
}

fn options(server: &Server) -> ConnectOptions {
    let mut options = ConnectOptions::new().recovery(recovery());
    options.config = server.config();
    options
}

async fn connect(server: &Server) -> (Line, Connection) {
    let line = server.line();
    let connection = line.connect(options(server)).await.unwrap();
    (line, connection)
}

async fn is_recovering(connection: &Connection) {
    let recovering = |state: &ConnectionState| matches!(state, ConnectionState::Recovering { .. });
    let state = timeout(PATIENCE, connection.state_where(recovering)).await.expect("it is lost");
    assert!(recovering(&state), "{state:?}");
}

async fn is_back(connection: &Connection) {
    let connected = |state: &ConnectionState| *state == ConnectionState::Connected;
    let state = timeout(PATIENCE, connection.state_where(connected)).await.expect("it comes back");
    assert_eq!(state, ConnectionState::Connected);
}

/// Cuts the line, and waits until the connection has noticed and is back.
async fn cut(line: &Line, connection: &Connection) {
    line.cut();
    is_recovering(connection).await;
    is_back(connection).await;
}

async fn durable(channel: &Channel, name: &str) {
    channel.declare_queue(name).durable().await.unwrap();
}

async fn next(consumer: &mut Consumer) -> hopmq::Delivery {
    let delivery = timeout(PATIENCE, consumer.next()).await.expect("a delivery comes");
    delivery.unwrap_or_else(|| panic!("the consumer has ended: {:?}", consumer.end()))
}

fn is_lost(reason: &CloseReason) -> bool {
    matches!(reason, CloseReason::Lost(Lost::Eof | Lost::Transport(_)))
}

/// What was on its way is sent again, and what is published in between is held; every confirm comes.
pub async fn publishes_outlive_a_cut(server: &Server) {
    let (line, connection) = connect(server).await;
    let channel = connection.open_channel().await.unwrap();
    let queue = server.name("outlive");
    durable(&channel, &queue).await;
    let publisher = channel.publisher().await.unwrap();
    let mut confirms = Vec::new();
    for n in 0..200 {
        confirms.push(publisher.publish(&queue, format!("{n}")).send().await.unwrap());
        match n {
            50 => line.cut(),
            100 => {
                line.set_down(true);
                line.cut();
                is_recovering(&connection).await;
            }
            _ => {}
        }
    }
    line.set_down(false);
    for confirm in confirms {
        timeout(PATIENCE, confirm).await.expect("every confirm comes").unwrap();
    }
    let mut bodies = Vec::new();
    while let Some(message) = channel.get(&queue).await.unwrap() {
        bodies.push((message.body().to_vec(), message.properties().unwrap().headers.is_some()));
        message.ack().unwrap();
    }
    // In their order, apart from what is marked.
    let first: Vec<_> = bodies.iter().filter(|(_, is_marked)| !is_marked).map(|(body, _)| body).collect();
    assert!(first.is_sorted_by_key(|body| String::from_utf8_lossy(body).parse::<u32>().unwrap()));
    for n in 0..200 {
        assert!(bodies.iter().any(|(body, _)| *body == n.to_string().into_bytes()), "{n} is lost");
    }
    channel.delete_queue(&queue).await.unwrap();
}

/// Its queue, which another has made, is gone when the connection is back: it ends with the server's words, and they are told.
pub async fn a_consumer_that_does_not_come_back_says_why(server: &Server) {
    let (line, connection) = connect(server).await;
    let other = server.channel().await;
    let queue = server.name("gone");
    durable(&other, &queue).await;
    let channel = connection.open_channel().await.unwrap();
    let mut consumer = channel.consume(&queue).await.unwrap();
    let mut events = connection.events();
    line.set_down(true);
    line.cut();
    is_recovering(&connection).await;
    other.delete_queue(&queue).await.unwrap();
    line.set_down(false);
    assert!(timeout(PATIENCE, consumer.next()).await.expect("it ends").is_none());
    let Some(ConsumerEnd::NotRestored(refused)) = consumer.end() else { panic!("{:?}", consumer.end()) };
    let Refused::Server(reason) = &refused else { panic!("{refused:?}") };
    assert!(matches!(&**reason, CloseReason::Server(close) if close.code.0 == 404), "{reason}");
    is_back(&connection).await;
    loop {
        if let ConnectionEvent::Recovered { outcomes, .. } = events.next().await.expect("it comes back") {
            assert_eq!(outcomes.last().map(|outcome| outcome.result.clone()), Some(Err(refused)));
            break;
        }
    }
    channel.declare_queue("").exclusive().await.expect("the channel lives on");
}

/// It goes on with its prefetch, and says where the gap was; what came before it cannot be settled any more.
pub async fn a_consumer_resumes(server: &Server) {
    let (line, connection) = connect(server).await;
    let channel = connection.open_channel().await.unwrap();
    let queue = server.name("resume");
    durable(&channel, &queue).await;
    publish_each(&channel, &queue, ["1", "2", "3", "4"]).await;
    let mut consumer = channel.consume(&queue).prefetch(2).await.unwrap();
    let first = next(&mut consumer).await;
    assert_eq!((first.body(), first.is_after_gap(), first.redelivered()), (&b"1"[..], false, false));
    eventually("the second has come", async || consumer.buffered().messages == 1).await;

    cut(&line, &connection).await;
    assert_eq!(first.ack(), Err(SettleError::Stale));
    let mut held = Vec::new();
    for (body, is_first) in [("1", true), ("2", false)] {
        let delivery = next(&mut consumer).await;
        assert_eq!((delivery.body(), delivery.redelivered()), (body.as_bytes(), true));
        assert_eq!(delivery.is_after_gap(), is_first, "{body}");
        held.push(delivery);
    }
    timeout(SHORT, consumer.next()).await.expect_err("the prefetch holds");
    held.into_iter().for_each(|delivery| delivery.ack().unwrap());
    for body in ["3", "4"] {
        let delivery = next(&mut consumer).await;
        assert_eq!((delivery.body(), delivery.is_after_gap()), (body.as_bytes(), false));
        delivery.ack().unwrap();
    }
    consumer.cancel().await.unwrap();
    assert_eq!(channel.delete_queue(&queue).await.unwrap(), 0);
}

/// A server-named queue gets another name, and its bindings and consumers with it; the old name means the new one.
pub async fn a_server_named_queue_is_renamed(server: &Server) {
    let (line, connection) = connect(server).await;
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let key = server.name("key");
    channel.bind_queue(queue.name(), "amq.direct", &key).await.unwrap();
    let mut consumer = channel.consume(queue.name()).await.unwrap();
    let publisher = channel.publisher().mandatory().await.unwrap();
    let mut events = connection.events();
    cut(&line, &connection).await;
    let renamed = loop {
        match timeout(PATIENCE, events.next()).await.expect("it is told").unwrap() {
            ConnectionEvent::QueueRenamed { old, new } => break (old, new),
            ConnectionEvent::Recovered { .. } => panic!("it has its name back?"),
            _ => {}
        }
    };
    assert_eq!(renamed.0, queue.name());
    assert_ne!(renamed.1, queue.name());
    publisher.publish(&key, "by its binding").exchange("amq.direct").await.unwrap();
    publisher.publish(&renamed.1, "by its name").await.unwrap();
    for body in ["by its binding", "by its name"] {
        assert_eq!(next(&mut consumer).await.body(), body.as_bytes());
    }
    let again = channel.declare_queue(queue.name()).passive().await.unwrap();
    assert_eq!(again.name(), renamed.1);
}

/// Events tell the story in its order, and whoever comes late is told how things are.
pub async fn events_and_states(server: &Server) {
    let (line, connection) = connect(server).await;
    let mut events = connection.events();
    assert_eq!(connection.state(), ConnectionState::Connected);
    line.set_down(true);
    line.cut();
    is_recovering(&connection).await;
    match (connection.state(), connection.events().next().await) {
        (ConnectionState::Recovering { reason }, Some(ConnectionEvent::Lost { reason: told })) => {
            assert_eq!(reason, told);
            assert!(is_lost(&reason), "{reason:?}");
        }
        other => panic!("{other:?}"),
    }
    let mut next = async || timeout(PATIENCE, events.next()).await.expect("there is more").unwrap();
    assert!(matches!(next().await, ConnectionEvent::Lost { .. }));
    match next().await {
        ConnectionEvent::AttemptFailed { reason, retry_in: Some(_), .. } => {
            assert!(matches!(&*reason, CloseReason::Unreachable(_)), "{reason:?}");
        }
        other => panic!("{other:?}"),
    }
    line.set_down(false);
    let recovered = loop {
        match next().await {
            ConnectionEvent::AttemptFailed { .. } => {}
            other => break other,
        }
    };
    assert!(matches!(recovered, ConnectionEvent::Recovered { .. }), "{recovered:?}");
    assert_eq!(connection.state(), ConnectionState::Connected);
    connection.close().await.unwrap();
    assert!(matches!(connection.state(), ConnectionState::Closed(_)));
}

/// A close ends it at once, wherever it is, and nothing is dialled any more.
pub async fn close_wins(server: &Server) {
    let (line, connection) = connect(server).await;
    let channel = connection.open_channel().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    line.set_down(true);
    line.cut();
    is_recovering(&connection).await;
    let confirm = publisher.publish("nowhere", "held").send().await.unwrap();
    timeout(PATIENCE, connection.close()).await.expect("it waits for nobody").unwrap();
    assert_eq!(connection.state(), ConnectionState::Closed(CloseReason::Requested.into()));
    match timeout(PATIENCE, confirm).await.expect("it is resolved") {
        Err(PublishError::NotSent { error: CommandError::Closed(reason), body }) => {
            assert_eq!((&*reason, &body[..]), (&CloseReason::Requested, &b"held"[..]));
        }
        other => panic!("{other:?}"),
    }
    line.set_down(false);
    eventually("nothing runs any more", async || line.users() == 0).await;
    assert!(channel.declare_queue("late").transient().await.is_err());
}

/// The last handle ends it, and leaves nothing behind.
pub async fn dropping_every_handle_ends_it(server: &Server) {
    let (line, connection) = connect(server).await;
    let mut events = connection.events();
    line.set_down(true);
    line.cut();
    while !matches!(events.next().await, Some(ConnectionEvent::AttemptFailed { .. })) {}
    assert!(line.users() > 0);
    drop(connection);
    eventually("nothing runs any more", async || line.users() == 0).await;
    while !matches!(events.next().await, Some(ConnectionEvent::Closed(_))) {}
    assert_eq!(events.next().await, None);
}

/// What it gives up with is what it was lost with, and everything that waited is told.
pub async fn gives_up_with_the_first_cause(server: &Server) {
    let line = server.line();
    let limited = Recovery { max_rounds: Some(3), ..recovery() };
    let connection = line.connect(options(server).recovery(limited)).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let mut consumer = channel.consume(queue.name()).await.unwrap();
    line.set_down(true);
    line.fall_silent();
    let confirm = publisher.publish(queue.name(), "").send().await.unwrap();
    let call = channel.delete_queue(queue.name());
    line.cut();
    let reason = timeout(PATIENCE, connection.closed()).await.expect("it gives up");
    assert!(is_lost(&reason), "{reason:?}");
    assert!(consumer.next().await.is_none());
    for cause in [confirm.await.unwrap_err().close_reason(), call.await.unwrap_err().close_reason()] {
        assert_eq!(cause, Some(&*reason));
    }
    assert_eq!(channel.get("x").await.unwrap_err().close_reason(), Some(&*reason));
}

/// Without recovery a loss is the end.
pub async fn off(server: &Server) {
    let line = server.line();
    let connection = line.connect(options(server).recovery(Recovery::off())).await.unwrap();
    line.cut();
    let reason = timeout(PATIENCE, connection.closed()).await.expect("it ends");
    assert!(is_lost(&reason), "{reason:?}");
    eventually("nothing runs any more", async || line.users() == 0).await;
}

/// A server that is not there yet is waited for where that is asked for, and is an error otherwise.
pub async fn a_server_that_is_down_at_first(server: &Server) {
    let line = server.line();
    line.set_down(true);
    let error = line.connect(options(server)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Dial { .. }), "{error:?}");

    let limited = Recovery { mode: RecoveryMode::Always, max_rounds: Some(3), ..recovery() };
    let error = line.connect(options(server).recovery(limited)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Dial { .. }), "{error:?}");

    let always = Recovery { mode: RecoveryMode::Always, ..recovery() };
    let options = options(server).recovery(always);
    let (dialled, options) = (line.clone(), options);
    let mut coming = server.spawn(async move { dialled.connect(options).await });
    eventually("it is under way", async || line.users() > 1).await;
    assert!(after_polls(&mut coming, 1).await.is_none());
    line.set_down(false);
    let connection = timeout(PATIENCE, coming).await.expect("it gets in").unwrap();
    connection.open_channel().await.unwrap();
}

/// Of two endpoints one is enough, at first and after a loss.
pub async fn one_of_two_endpoints(server: &Server) {
    let line = server.line();
    let options = options(server).endpoint(NOWHERE, 1).endpoint("there", 1);
    let connection = line.connect(options).await.unwrap();
    let mut events = connection.events();
    cut(&line, &connection).await;
    let mut next = async || timeout(PATIENCE, events.next()).await.expect("there is more").unwrap();
    assert!(matches!(next().await, ConnectionEvent::Lost { .. }));
    match next().await {
        ConnectionEvent::AttemptFailed { endpoint, retry_in: None, .. } => assert_eq!(endpoint.host, NOWHERE),
        other => panic!("{other:?}"),
    }
    assert!(matches!(next().await, ConnectionEvent::Recovered { .. }));
    connection.open_channel().await.unwrap();
}

/// What becomes of publishes is their publisher's choice.
pub async fn policies(server: &Server) {
    let (line, connection) = connect(server).await;
    let channel = connection.open_channel().await.unwrap();
    let queue = server.name("policies");
    durable(&channel, &queue).await;
    let resend = channel.publisher().await.unwrap();
    let hold = channel.publisher().when_lost(WhenLost::Hold).await.unwrap();
    let fail = channel.publisher().when_lost(WhenLost::Fail).await.unwrap();

    line.fall_silent();
    let mut under_way = Vec::new();
    for publisher in [&resend, &hold, &fail] {
        under_way.push(publisher.publish(&queue, "under way").send().await.unwrap());
    }
    line.set_down(true);
    line.cut();
    is_recovering(&connection).await;
    let held = [&resend, &hold].map(|publisher| publisher.publish(&queue, "held").send());
    let mut confirms = Vec::new();
    for sending in held {
        confirms.push(sending.await.unwrap());
    }
    match fail.publish(&queue, "refused").await {
        Err(PublishError::NotSent { error: CommandError::Disconnected, body }) => assert_eq!(body, "refused"),
        other => panic!("{other:?}"),
    }
    let mut under_way = under_way.into_iter();
    let resent = under_way.next().unwrap();
    for failed in under_way {
        match timeout(PATIENCE, failed).await.expect("it fails at once") {
            Err(PublishError::Unconfirmed(CallError::Closed(reason))) => assert!(is_lost(&reason)),
            other => panic!("{other:?}"),
        }
    }
    line.set_down(false);
    confirms.push(resent);
    for confirm in confirms {
        timeout(PATIENCE, confirm).await.expect("it is confirmed").unwrap();
    }
    // What is under way may have come or not, on a line that fell silent: here it never has.
    assert_eq!(channel.delete_queue(&queue).await.unwrap(), 3);
}

/// A call that waits for the connection waits no longer than it would for an answer.
pub async fn calls_that_are_held_have_their_deadline(server: &Server) {
    let line = server.line();
    let options = options(server).call_timeout(SHORT);
    let connection = line.connect(options).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    line.set_down(true);
    line.cut();
    is_recovering(&connection).await;
    let (call, opened) = join(
        timeout(PATIENCE, channel.declare_queue("held").transient()),
        timeout(PATIENCE, connection.open_channel()),
    )
    .await;
    let call = call.expect("it has a deadline");
    assert!(matches!(call, Err(Error::Failed(CallError::TimedOut))), "{call:?}");
    let opened = opened.expect("it has a deadline");
    assert!(matches!(opened, Err(Error::Failed(CallError::TimedOut))), "{opened:?}");
}

/// A request whose reply cannot come any more fails at once; the client goes on when the connection is back.
pub async fn rpc(server: &Server) {
    let (line, connection) = connect(server).await;
    let worker = server.channel().await;
    let queue = worker.declare_queue("").exclusive().await.unwrap();
    let name = queue.name().to_owned();
    let mut requests = worker.consume(queue.name()).await.unwrap();
    let client = connection.open_channel().await.unwrap().rpc_client().await.unwrap();
    let asked = async {
        let unanswered = next(&mut requests).await;
        line.cut();
        unanswered
    };
    let (failed, unanswered) = join(client.call(&name, "lost").into_future(), asked).await;
    assert!(matches!(&failed, Err(RpcError::Lost(reason)) if is_lost(reason)), "{failed:?}");
    unanswered.ack().unwrap();
    is_back(&connection).await;
    let publisher = worker.publisher().await.unwrap();
    let answer = async {
        let end = requests.handle(1, OnError::Reject, |request| {
            let asked = request.properties().unwrap();
            let reply_to = asked.reply_to.unwrap().as_str().unwrap().to_owned();
            let properties = hopmq::Properties { correlation_id: asked.correlation_id, ..Default::default() };
            let publisher = &publisher;
            async move { publisher.publish(&reply_to, "answer").properties(&properties).await }
        });
        end.await
    };
    let asked_again = client.call(&name, "asked again").into_future();
    let reply = match select(asked_again, pin!(answer)).await {
        Either::Left((reply, _)) => reply,
        Either::Right((end, _)) => panic!("{end}"),
    };
    assert_eq!(reply.unwrap().body(), b"answer");
}
