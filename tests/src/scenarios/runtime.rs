//! The runtimes that scenarios run on, and all that they may ask of one: no scenario names a runtime itself.

use std::fmt::Debug;
use std::future::{Future, IntoFuture};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{FutureExt as _, RemoteHandle};
use hopmq::io::{Dialer, Listener, Network, Runtime as _, Transport};
use hopmq::{Broker, BrokerConfig, CloseReason, Config, ConnectError, ConnectOptions, Connection, Endpoint};
use hopmq_smol::Smol;
use hopmq_smol::async_std::AsyncStd;
use hopmq_tokio::Tokio;

use super::Server;
use super::boxed::Scenario;

/// How long a scenario may take: a hang is a failure.
const DEADLINE: Duration = Duration::from_secs(30);

/// Runs a scenario against a server that is started for it, and looks that nothing is left of it.
pub fn run(runtime: &Runtime, start: impl AsyncFnOnce(On) -> Server, scenario: Scenario) {
    runtime.block_on(async {
        let server = start(runtime.on()).await;
        timeout(DEADLINE, scenario(&server)).await.expect("the scenario hangs");
        server.finish().await;
    });
}

/// A runtime to run scenarios on.
#[derive(Debug)]
pub enum Runtime {
    Tokio(tokio::runtime::Runtime),
    Smol,
    AsyncStd,
}

pub fn current_thread() -> Runtime {
    Runtime::Tokio(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap())
}

pub fn multi_thread() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Runtime::Tokio(builder.worker_threads(2).enable_all().build().unwrap())
}

impl Runtime {
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        match self {
            Self::Tokio(runtime) => runtime.block_on(future),
            Self::Smol => smol::block_on(future),
            Self::AsyncStd => async_std::task::block_on(future),
        }
    }

    pub const fn on(&self) -> On {
        match self {
            Self::Tokio(_) => On::Tokio,
            Self::Smol => On::Smol,
            Self::AsyncStd => On::AsyncStd,
        }
    }
}

/// Which adapter a scenario runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Tokio,
    Smol,
    AsyncStd,
}

/// A task: it ends when this is dropped, and panics here if it panics.
pub type Task<T> = RemoteHandle<T>;

impl On {
    pub fn spawn<T: Send + 'static>(self, future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        let (task, handle) = future.remote_handle();
        match self {
            Self::Tokio => Tokio::current().spawn(task),
            Self::Smol => Smol::current().spawn(task),
            Self::AsyncStd => AsyncStd::current().spawn(task),
        }
        handle
    }

    /// Connects as a user does.
    pub async fn connect(self, options: ConnectOptions) -> Result<Connection, ConnectError> {
        match self {
            Self::Tokio => hopmq_tokio::connect_with(options).await,
            Self::Smol => hopmq_smol::connect_with(options).await,
            Self::AsyncStd => hopmq_smol::async_std::connect_with(options).await,
        }
    }

    /// Connects through a dialer of our own.
    pub(super) async fn connect_through(
        self,
        dialer: impl Dialer,
        options: ConnectOptions,
    ) -> Result<Connection, ConnectError> {
        match self {
            Self::Tokio => Connection::connect(&Tokio::current(), dialer, options).await,
            Self::Smol => Connection::connect(&Smol::current(), dialer, options).await,
            Self::AsyncStd => Connection::connect(&AsyncStd::current(), dialer, options).await,
        }
    }

    /// A socket.
    pub(super) async fn dial(self, endpoint: &Endpoint) -> io::Result<Box<dyn Transport>> {
        Ok(match self {
            Self::Tokio => Box::new(hopmq_tokio::TcpDialer.dial(endpoint).await?),
            Self::Smol | Self::AsyncStd => Box::new(hopmq_smol::TcpDialer.dial(endpoint).await?),
        })
    }

    /// The embedded broker, over TCP.
    pub(super) async fn broker(self) -> (Box<dyn Embedded>, String) {
        async fn start<R: Network>() -> (Box<dyn Embedded>, String) {
            let broker = Broker::<R>::start().await.unwrap();
            let uri = broker.uri();
            (Box::new(broker), uri)
        }
        match self {
            Self::Tokio => start::<Tokio>().await,
            Self::Smol => start::<Smol>().await,
            Self::AsyncStd => start::<AsyncStd>().await,
        }
    }

    /// The embedded broker, without a socket.
    pub(super) fn broker_in_memory(self, door: impl Listener) -> Box<dyn Embedded> {
        fn start<R: Network>(door: impl Listener) -> Box<dyn Embedded> {
            let broker = Broker::<R>::in_memory(BrokerConfig::default());
            broker.serve(door);
            Box::new(broker)
        }
        match self {
            Self::Tokio => start::<Tokio>(door),
            Self::Smol => start::<Smol>(door),
            Self::AsyncStd => start::<AsyncStd>(door),
        }
    }
}

/// The embedded broker, whatever it runs on.
pub trait Embedded: Debug {
    fn connections(&self) -> usize;
    fn connect_with(&self, config: Config) -> Boxed<'_, Result<Connection, Arc<CloseReason>>>;
    fn shutdown(&self) -> Boxed<'_, ()>;
    fn set_alarm(&self, on: bool);
}

pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

impl<R: Network> Embedded for Broker<R> {
    fn connections(&self) -> usize {
        self.connections()
    }

    fn connect_with(&self, config: Config) -> Boxed<'_, Result<Connection, Arc<CloseReason>>> {
        Box::pin(self.connect_with(config))
    }

    fn shutdown(&self) -> Boxed<'_, ()> {
        Box::pin(self.shutdown())
    }

    fn set_alarm(&self, on: bool) {
        if on { self.block("low on memory") } else { self.unblock() }
    }
}

/// A sleep that no runtime's clock has a part in.
pub async fn sleep(time: Duration) {
    smol::Timer::after(time).await;
}

/// Something did not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late;

/// What a future gives, if it does so in time.
pub async fn timeout<F: IntoFuture>(limit: Duration, future: F) -> Result<F::Output, Late> {
    let future = future.into_future();
    smol::future::or(async { Ok(future.await) }, async {
        sleep(limit).await;
        Err(Late)
    })
    .await
}

/// Lets others run.
pub async fn yield_now() {
    smol::future::yield_now().await;
}
