//! What is agreed on before a connection is open.

use hopmq::{Config, Credentials};
use hopmq_proto::amqp::connection::{self, TuneOk};

use super::Server;
use super::raw::TUNE_OK;

/// Nobody is told why; RabbitMQ lets it wait for three seconds.
async fn refused(server: &Server, offers: impl IntoIterator<Item = TuneOk>) {
    let mut refused = Vec::new();
    for tune_ok in offers {
        let mut raw = server.raw().await;
        raw.tune(&server.config(), tune_ok.clone()).await;
        refused.push((tune_ok, raw));
    }
    for (tune_ok, mut raw) in refused {
        let said = raw.frame().await;
        assert!(said.is_none(), "{said:?} to {tune_ok:?}");
    }
}

/// Zero is no limit, and so above every limit.
pub async fn trap_6_a_client_may_only_lower_frame_max(server: &Server) {
    refused(server, [0, 131_073, 4095].map(|frame_max| TuneOk { frame_max, ..TUNE_OK })).await;
    opens(server, TuneOk { frame_max: 4096, ..TUNE_OK }).await;
}

pub async fn trap_9_a_client_may_only_lower_channel_max(server: &Server) {
    refused(server, [0, 2048].map(|channel_max| TuneOk { channel_max, ..TUNE_OK })).await;
    opens(server, TuneOk { channel_max: 1, ..TUNE_OK }).await;
}

async fn opens(server: &Server, tune_ok: TuneOk) {
    let mut raw = server.raw().await;
    let config = server.config();
    raw.tune(&config, tune_ok).await;
    let opened = raw.call(0, connection::Open { virtual_host: config.virtual_host }).await;
    assert_eq!(opened, connection::OpenOk {}.into());
    raw.open_channel(1).await;
}

/// Whoever has not said that it can hear it is not told why.
pub async fn trap_3_without_the_capability_a_refused_login_just_ends(server: &Server) {
    let wrong = Config { credentials: Credentials::new("guest", "wrong"), ..server.config() };
    let mut raw = server.raw().await;
    raw.send_login(&wrong, &[]).await;
    let said = raw.frame().await;
    assert!(said.is_none(), "{said:?}");

    let mut raw = server.raw().await;
    raw.send_login(&wrong, &["authentication_failure_close"]).await;
    let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker \
                logfile.";
    raw.expect_connection_close(403, text).await;
}
