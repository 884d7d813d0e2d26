//! Names that are no text.

use hopmq::ShortStr;
use hopmq_proto::amqp::queue;

use super::Server;

/// RabbitMQ checks the strings of a method, though not those of a message.
pub async fn trap_25_of_a_method_are_utf_8(server: &Server) {
    let mut raw = server.raw_channel().await;
    let queue = ShortStr::new(b"\xff\xfe".to_vec()).unwrap();
    raw.send(1, queue::Declare { queue, exclusive: true, ..queue::Declare::default() }).await;
    raw.expect_connection_close(501, "FRAME_ERROR - Malformed UTF-8 in shortstr").await;
}
