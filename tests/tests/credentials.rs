//! A credentials provider, on a clock that jumps: each renewal comes when it should, to the second.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hopmq_tests::door::{Door, Line, door};
use hopmq_tokio::io::Dialer;
use hopmq_tokio::{
    Broker, BrokerConfig, CloseReason, ConnectError, ConnectOptions, Connection, ConnectionEvent,
    Credentials, Endpoint, Events, ProvidedCredentials, ProviderError, Tokio,
};
use tokio::time::{Instant, sleep};

/// A provider that answers as its script says, and remembers when it was asked.
#[derive(Clone)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Duration>>>,
    start: Instant,
}

#[derive(Clone, Copy)]
enum Answer {
    /// Credentials that expire in so many seconds.
    Good(u64),
    Forever,
    Wrong,
    Failure,
    Silence,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        Self { answers, asked: Arc::default(), start: Instant::now() }
    }

    async fn provide(self) -> Result<ProvidedCredentials, ProviderError> {
        self.asked.lock().unwrap().push(self.start.elapsed());
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Failure);
        let provided = ProvidedCredentials::new(Credentials::new("guest", "guest"));
        match answer {
            Answer::Good(seconds) => Ok(provided.expires_in(Duration::from_secs(seconds))),
            Answer::Forever => Ok(provided),
            Answer::Wrong => Ok(Credentials::new("guest", "wrong").into()),
            Answer::Failure => Err("the token server is down".into()),
            Answer::Silence => std::future::pending().await,
        }
    }

    /// The seconds at which it was asked.
    fn asked(&self) -> Vec<u64> {
        self.asked.lock().unwrap().iter().map(Duration::as_secs).collect()
    }

    async fn connect(&self, door: &Arc<Door>) -> Result<Connection, ConnectError> {
        let script = self.clone();
        let options = ConnectOptions::new().credentials_provider(move || script.clone().provide());
        Connection::connect(&Tokio::current(), door.clone(), options).await
    }
}

/// Runs a test on a clock that jumps to the next timer when nothing else is left to do.
fn on_a_paused_clock(test: impl AsyncFnOnce(Broker, Arc<Door>)) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let broker = Broker::in_memory(BrokerConfig::default());
        let (door, visitors) = door();
        broker.serve(visitors);
        test(broker, Arc::new(door)).await;
    });
}

async fn next(events: &mut Events) -> ConnectionEvent {
    events.next().await.expect("the stream goes on")
}

fn failed(error: &str) -> ConnectionEvent {
    ConnectionEvent::RefreshFailed { error: error.to_owned() }
}

#[test]
fn a_secret_is_renewed_when_four_fifths_of_its_time_are_over() {
    on_a_paused_clock(async |_broker, door| {
        let script = Script::new([Answer::Good(100), Answer::Good(10), Answer::Forever]);
        let connection = script.connect(&door).await.unwrap();
        let mut events = connection.events();
        for at in [80, 88] {
            assert_eq!(next(&mut events).await, ConnectionEvent::SecretUpdated);
            assert_eq!(script.start.elapsed().as_secs(), at);
        }
        sleep(Duration::from_secs(3600)).await;
        connection.open_channel().await.unwrap();
        assert_eq!(script.asked(), [0, 80, 88], "what does not expire is not renewed");
    });
}

#[test]
fn a_renewal_that_fails_is_tried_again_later_and_later() {
    on_a_paused_clock(async |_broker, door| {
        let (bad, good) = (Answer::Failure, Answer::Good(100));
        let script = Script::new([good, bad, bad, Answer::Silence, good, bad, good]);
        let connection = script.connect(&door).await.unwrap();
        let mut events = connection.events();
        for _ in 0..2 {
            assert_eq!(next(&mut events).await, failed("the token server is down"));
        }
        assert_eq!(next(&mut events).await, failed("the credentials provider did not answer in time"));
        assert_eq!(next(&mut events).await, ConnectionEvent::SecretUpdated);
        // 80, 1 s later, 2 s later; 10 s of silence and 4 s later; then the waits begin anew.
        assert_eq!(script.asked(), [0, 80, 81, 83, 97]);
        assert_eq!(next(&mut events).await, failed("the token server is down"));
        assert_eq!(next(&mut events).await, ConnectionEvent::SecretUpdated);
        assert_eq!(script.asked()[5..], [177, 178]);
    });
}

#[test]
fn a_secret_that_cannot_be_renewed_is_given_up_when_it_expires() {
    on_a_paused_clock(async |_broker, door| {
        let script = Script::new([Answer::Good(100)]);
        let connection = script.connect(&door).await.unwrap();
        let mut events = connection.events();
        for _ in 0..5 {
            assert_eq!(next(&mut events).await, failed("the token server is down"));
        }
        sleep(Duration::from_secs(3600)).await;
        connection.close().await.unwrap();
        assert_eq!(next(&mut events).await, ConnectionEvent::Closed(Arc::new(CloseReason::Requested)));
        assert_eq!(script.asked(), [0, 80, 81, 83, 87, 95]);
    });
}

#[test]
fn a_connect_tells_why_there_are_no_credentials() {
    on_a_paused_clock(async |_broker, door| {
        let error = Script::new([Answer::Failure]).connect(&door).await.unwrap_err();
        assert_eq!(error.to_string(), "no credentials: the token server is down");
        assert!(matches!(error, ConnectError::Credentials(_)));

        let script = Script::new([Answer::Silence]);
        let error = script.connect(&door).await.unwrap_err();
        assert!(matches!(error, ConnectError::CredentialsTimeout), "{error:?}");
        assert_eq!(script.start.elapsed(), Duration::from_secs(10), "that is connect_timeout");

        let error = Script::new([Answer::Wrong]).connect(&door).await.unwrap_err();
        assert!(matches!(error.close_reason(), Some(CloseReason::Server(close)) if close.code.0 == 403));
    });
}

#[test]
fn renewals_end_with_their_connection() {
    on_a_paused_clock(async |broker, door| {
        for abort in [false, true] {
            let script = Script::new([Answer::Good(100)]);
            let connection = script.connect(&door).await.unwrap();
            let mut events = connection.events();
            if abort {
                connection.abort();
            }
            drop(connection); // the renewal does not keep it open
            assert!(matches!(next(&mut events).await, ConnectionEvent::Closed(_)));
            assert_eq!(events.next().await, None);
            while Arc::strong_count(&script.asked) > 1 {
                tokio::task::yield_now().await;
            }
            assert_eq!((script.asked(), script.start.elapsed().as_secs()), (vec![0], 0));
        }
        drop(broker);
    });
}

#[test]
fn a_provider_is_not_asked_without_a_pause() {
    on_a_paused_clock(async |_broker, door| {
        let script = Script::new([Answer::Good(0), Answer::Good(1), Answer::Good(0), Answer::Forever]);
        let connection = script.connect(&door).await.unwrap();
        let mut events = connection.events();
        for _ in 0..3 {
            assert_eq!(next(&mut events).await, ConnectionEvent::SecretUpdated);
        }
        assert_eq!(script.asked(), [0, 1, 2, 3]);
    });
}

/// Gets nowhere with its first endpoint, and in by the next.
struct Slow(Arc<Door>);

impl Dialer for Slow {
    type Transport = Line;

    async fn dial(&self, endpoint: &Endpoint) -> io::Result<Line> {
        if endpoint.host == "silent" {
            std::future::pending::<()>().await;
        }
        self.0.dial(endpoint).await
    }
}

#[test]
fn credentials_grow_old_while_endpoints_are_tried() {
    on_a_paused_clock(async |_broker, door| {
        let script = Script::new([Answer::Good(20), Answer::Forever]);
        let provider = script.clone();
        let options = ConnectOptions::new().endpoint("silent", 1).endpoint("there", 1);
        let options = options.credentials_provider(move || provider.clone().provide());
        let connection = Connection::connect(&Tokio::current(), Slow(door), options).await.unwrap();
        assert_eq!(script.start.elapsed().as_secs(), 5, "half of connect_timeout");
        assert_eq!(next(&mut connection.events()).await, ConnectionEvent::SecretUpdated);
        assert_eq!(script.asked(), [0, 16]);
    });
}
