//! The adapters beside each other: they differ in sockets, alarms and spawn, and keep time alike.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hopmq::io::{Clock as _, Network, Timer as _};
use hopmq::{
    Broker, BrokerConfig, CloseReason, ConnectOptions, Connection, Instant, Lost, Pem, Recovery, TlsOptions,
};
use hopmq_smol::async_std::AsyncStd;
use hopmq_smol::{Smol, TcpDialer};
use hopmq_tests::certificates::Authority;
use hopmq_tests::scenarios::{self, On, Runtime, drop_after, eventually, timeout};
use hopmq_tokio::Tokio;

/// How long what is not to take long may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many lines an adapter may have, so that nothing gathers there that belongs into `hopmq`.
const LINES: usize = 260;

fn sources(adapter: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(adapter).join("src")
}

/// A file without its comments, which words of tokio are said as smol's.
fn code(path: &Path) -> String {
    let source = fs::read_to_string(path).unwrap().replace("tokio", "smol").replace("Tokio", "Smol");
    let lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.fold(String::new(), |code, line| code + line + "\n")
}

/// The same without what is there for one of them alone, or for documentation tests.
fn own(path: &Path) -> String {
    let code = code(path);
    let items = code.split("#[cfg(").enumerate().map(|(number, item)| match number {
        0 => item.to_owned(),
        _ => item.split_once(";\n").map_or_else(String::new, |(_, rest)| rest.trim_start().to_owned()),
    });
    items.collect::<String>().trim_end().to_owned()
}

/// What a user sees of a file: public types and functions, and which traits are implemented, in order of their names.
fn surface(path: &Path) -> BTreeSet<String> {
    let code = code(path);
    let lines = code.lines().map(str::trim_start);
    let is_seen = |line: &&str| {
        (line.starts_with("pub ") && !line.starts_with("pub(crate)"))
            || (line.starts_with("impl") && line.contains(" for ") && !line.contains("fmt::Debug"))
    };
    let plain = |line: &str| {
        line.replace("const fn", "fn").split(['(', '{', ';']).next().map(|it| it.trim().to_owned())
    };
    lines.filter(is_seen).filter_map(plain).collect()
}

#[test]
fn they_differ_in_sockets_alarms_and_spawn_only() {
    let (tokio, smol) = (sources("hopmq-tokio"), sources("hopmq-smol"));
    let files = |folder: &Path| -> BTreeSet<_> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut of_smol = files(&smol);
    assert!(of_smol.remove("async_std.rs"));
    assert_eq!(of_smol, files(&tokio));
    for file in ["broker.rs", "connect.rs", "lib.rs"] {
        assert_eq!(own(&smol.join(file)), own(&tokio.join(file)), "{file}");
    }
    // A dialer differs in who looks up the name.
    let lines = |folder: &Path| -> Vec<_> {
        let code = code(&folder.join("dial.rs"));
        code.lines().filter(|line| !line.starts_with("use ")).map(|line| line.trim().to_owned()).collect()
    };
    let (of_tokio, of_smol) = (lines(&tokio), lines(&smol));
    assert_eq!(of_tokio.len(), of_smol.len());
    let differ: Vec<_> = of_smol.iter().zip(&of_tokio).filter(|(smol, tokio)| smol != tokio).collect();
    let [(look_up, _)] = differ[..] else { panic!("{differ:#?}") };
    assert_eq!(look_up, "let addresses = resolve((endpoint.host.as_str(), endpoint.port)).await?;");
    // Sockets, alarms and spawn are made of different things, and look the same to their users.
    for (file, more) in [("tcp.rs", &[][..]), ("runtime.rs", &["pub fn on"][..])] {
        let mut of_smol = surface(&smol.join(file));
        of_smol.retain(|item| !more.iter().any(|more| item.starts_with(more)));
        assert_eq!(of_smol, surface(&tokio.join(file)), "{file}");
    }
    for folder in [tokio, smol] {
        let lines: usize = files(&folder)
            .iter()
            .filter(|file| *file != "async_std.rs")
            .map(|file| code(&folder.join(file)).lines().count())
            .sum();
        assert!(lines <= LINES, "{}: {lines} lines", folder.display());
    }
}

/// What they ask of a runtime is in one file. `tokio::sync` is of no runtime.
#[test]
fn no_scenario_names_a_runtime() {
    let mut scenarios = 0;
    for entry in fs::read_dir(sources("tests").join("scenarios")).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("runtime.rs") {
            continue;
        }
        scenarios += 1;
        for line in fs::read_to_string(&path).unwrap().lines() {
            let is_named = ["tokio", "smol", "async_std"].iter().any(|runtime| line.contains(runtime));
            assert!(!is_named || line.starts_with("use tokio::sync::"), "{}: {line}", path.display());
        }
    }
    assert!(scenarios > 30, "they are read");
}

/// A test on every runtime that there is.
fn on_each(test: impl AsyncFn(On)) {
    for runtime in [scenarios::current_thread(), scenarios::multi_thread(), Runtime::Smol, Runtime::AsyncStd]
    {
        runtime.block_on(async { timeout(PATIENCE, test(runtime.on())).await.expect("it hangs") });
    }
}

async fn alarms<R: Network>() {
    let runtime = R::current();
    let (clock, mut timer) = (runtime.clock(), runtime.timer());
    let start = clock.now();
    let after = |ms| start + Duration::from_millis(ms);
    poll_fn(|cx| timer.poll_until(cx, start)).await; // it is time already
    // Put off, and then moved nearer.
    for (first, second) in [(after(20), after(60)), (after(3_600_000), after(90))] {
        let early = poll_fn(|cx| Poll::Ready(timer.poll_until(cx, first).is_ready())).await;
        assert!(!early || clock.now() >= first, "it rang too early");
        poll_fn(|cx| timer.poll_until(cx, second)).await;
        assert!(clock.now() >= second, "it rang too early");
    }
    // It rings again, whoever waits for it then.
    let next = clock.now() + Duration::from_millis(20);
    drop_after(poll_fn(|cx| timer.poll_until(cx, next)), 1).await;
    poll_fn(|cx| timer.poll_until(cx, next)).await;
    poll_fn(|cx| timer.poll_until(cx, next)).await; // and stays so
    let never = Instant::ZERO + Duration::MAX;
    assert!(poll_fn(|cx| Poll::Ready(timer.poll_until(cx, never).is_pending())).await);
}

#[test]
fn alarms_ring_in_time_wherever_they_are_moved() {
    on_each(async |on| match on {
        On::Tokio => alarms::<Tokio>().await,
        On::Smol => alarms::<Smol>().await,
        On::AsyncStd => alarms::<AsyncStd>().await,
    });
}

/// What ends, ends.
fn options(uri: &str) -> ConnectOptions {
    uri.parse::<ConnectOptions>().unwrap().recovery(Recovery::off())
}

async fn listens<R: Network>(on: On) {
    let ca = Authority::new("a test");
    let server = ca.issue("server", &["localhost"]);
    let pem = |text: &str| Pem::Text(text.as_bytes().to_vec());
    let (certificate, key) = (pem(&server.certificate), pem(&server.key));
    let broker = Broker::<R>::bind(("127.0.0.1", 0), BrokerConfig::default()).await.unwrap();
    let secure = broker.listen_tls("localhost:0", &certificate, &key).await.unwrap();
    assert_eq!(broker.uri(), format!("amqp://{}", broker.local_addr().unwrap()));
    let taken = broker.listen(secure).await.unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);

    let plain = on.connect(options(&broker.uri())).await.unwrap();
    let tls =
        options(&format!("amqps://localhost:{}", secure.port())).tls(TlsOptions::new().ca(pem(&ca.pem)));
    let tls = on.connect(tls).await.unwrap();
    let memory = broker.connect().await.unwrap();
    // Longer than any buffer on the way.
    let body = vec![7; 3 << 20];
    for connection in [&plain, &tls, &memory] {
        let channel = connection.open_channel().await.unwrap();
        let queue = channel.declare_queue("").exclusive().await.unwrap();
        let publisher = channel.publisher().mandatory().await.unwrap();
        publisher.publish(queue.name(), body.clone()).await.unwrap();
        let delivery = channel.consume(queue.name()).await.unwrap().next().await.unwrap();
        assert!(delivery.body() == body);
        delivery.ack().unwrap();
    }
    assert_eq!(broker.connections(), 3);
    broker.shutdown().await;
    for connection in [plain, tls, memory] {
        let reason = connection.close_reason();
        assert!(
            matches!(reason.as_deref(), Some(CloseReason::Server(close)) if close.code.0 == 320),
            "{reason:?}"
        );
    }
}

/// On several addresses, with TLS and without, and in memory.
#[test]
fn a_broker_listens_wherever_it_is_told_to() {
    on_each(async |on| match on {
        On::Tokio => listens::<Tokio>(on).await,
        On::Smol => listens::<Smol>(on).await,
        On::AsyncStd => listens::<AsyncStd>(on).await,
    });
}

/// An executor that its user runs, and drops.
#[test]
fn what_runs_on_an_executor_of_smol_ends_with_it() {
    let executor = Arc::new(smol::Executor::new());
    let runtime = Smol::on(&executor);
    let broker = smol::block_on(hopmq_smol::Broker::start()).unwrap();
    let options: ConnectOptions = broker.uri().parse().unwrap();
    let options = options.recovery(Recovery::always());
    let connect = || Connection::connect(&runtime, TcpDialer, options.clone());
    let connection = smol::block_on(executor.run(connect())).unwrap();
    assert!(!executor.is_empty());
    assert_eq!(Arc::strong_count(&executor), 1, "its tasks do not keep it");
    drop(executor);

    smol::block_on(async {
        let reason = timeout(PATIENCE, connection.closed()).await.expect("it has ended");
        assert!(
            matches!(&*reason, CloseReason::Lost(Lost::Transport(why)) if why.contains("task")),
            "{reason:?}"
        );
        eventually("the broker notices", async || broker.connections() == 0).await;
        let late = timeout(PATIENCE, connect()).await.expect("it fails at once");
        late.unwrap_err();
    });
}
