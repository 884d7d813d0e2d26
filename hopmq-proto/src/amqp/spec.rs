//! Every method of AMQP 0-9-1, declared once.
//!
//! Source: <https://www.rabbitmq.com/amqp-0-9-1-reference>, and the errata for what RabbitMQ does otherwise.

use super::method::{Arguments, methods};
use super::{Reader, WireError, Writer};

methods! {
    /// The connection: handshake, tuning, closing, and RabbitMQ's blocked notices.
    10 connection {
        /// The server's greeting.
        10 Start {
            /// 0.
            version_major: octet,
            /// 9.
            version_minor: octet,
            /// Product, version and capabilities of the server.
            server_properties: table,
            /// The SASL mechanisms it offers, separated by spaces.
            mechanisms: longstr,
            /// The locales it offers, separated by spaces.
            locales: longstr,
        } => ConnectionStart
        /// The client's choice of mechanism and locale, with its credentials.
        11 StartOk {
            /// Product, version and capabilities of the client.
            client_properties: table,
            /// The SASL mechanism it chose.
            mechanism: shortstr,
            /// The mechanism's initial response.
            response: secret,
            /// The locale it chose.
            locale: shortstr,
        } => ConnectionStartOk
        /// A further challenge of the SASL mechanism.
        20 Secure {
            /// The challenge.
            challenge: longstr,
        } => ConnectionSecure
        /// The answer to a challenge.
        21 SecureOk {
            /// The answer.
            response: secret,
        } => ConnectionSecureOk
        /// The limits the server proposes.
        30 Tune {
            /// The highest channel number; 0 means no limit of its own.
            channel_max: short,
            /// The largest frame in bytes, its 8 bytes of framing included; 0 means no limit of its own.
            frame_max: long,
            /// Seconds between heartbeats; 0 means none.
            heartbeat: short,
        } => ConnectionTune
        /// The limits the client accepts.
        31 TuneOk {
            /// The highest channel number.
            channel_max: short,
            /// The largest frame in bytes, its 8 bytes of framing included.
            frame_max: long,
            /// Seconds between heartbeats; 0 means none.
            heartbeat: short,
        } => ConnectionTuneOk
        /// Asks for a virtual host.
        40 Open {
            /// The virtual host.
            virtual_host: shortstr,
        }[shortstr, bit] => ConnectionOpen
        /// The virtual host is open.
        41 OpenOk {}[shortstr] => ConnectionOpenOk
        /// Closes the connection.
        50 Close {
            /// Why.
            reply_code: short,
            /// Why, in words.
            reply_text: shortstr,
            /// The class of the method that caused it, or 0.
            class_id: short,
            /// The method that caused it, or 0.
            method_id: short,
        } => ConnectionClose
        /// Confirms the close.
        51 CloseOk {} => ConnectionCloseOk
        /// The server takes no publishes for now (RabbitMQ).
        60 Blocked {
            /// Why.
            reason: shortstr,
        } => ConnectionBlocked
        /// The server takes publishes again (RabbitMQ).
        61 Unblocked {} => ConnectionUnblocked
        /// New credentials for a connection that is open (RabbitMQ).
        70 UpdateSecret {
            /// The new secret.
            new_secret: secret,
            /// Why, for the server's log.
            reason: shortstr,
        } => ConnectionUpdateSecret
        /// The new credentials are accepted (RabbitMQ).
        71 UpdateSecretOk {} => ConnectionUpdateSecretOk
    }

    /// Channels: light connections inside the connection.
    20 channel {
        /// Opens the channel.
        10 Open {}[shortstr] => ChannelOpen
        /// The channel is open.
        11 OpenOk {}[longstr] => ChannelOpenOk
        /// Pauses or resumes the flow of content.
        20 Flow {
            /// Whether content may flow.
            active: bit,
        } => ChannelFlow
        /// Confirms a pause or resumption.
        21 FlowOk {
            /// Whether content flows.
            active: bit,
        } => ChannelFlowOk
        /// Closes the channel.
        40 Close {
            /// Why.
            reply_code: short,
            /// Why, in words.
            reply_text: shortstr,
            /// The class of the method that caused it, or 0.
            class_id: short,
            /// The method that caused it, or 0.
            method_id: short,
        } => ChannelClose
        /// Confirms the close.
        41 CloseOk {} => ChannelCloseOk
    }

    /// Access tickets, which AMQP 0-9-1 dropped and RabbitMQ still answers.
    30 access {
        /// Asks for a ticket.
        10 Request {
            /// The realm.
            realm: shortstr,
            /// Nobody else may have access.
            exclusive: bit,
            /// Passive access.
            passive: bit,
            /// Active access.
            active: bit,
            /// To publish.
            write: bit,
            /// To consume.
            read: bit,
        } => AccessRequest
        /// Grants a ticket.
        11 RequestOk {
            /// The ticket, which nobody checks.
            ticket: short,
        } => AccessRequestOk
    }

    /// Exchanges: where messages are published to.
    40 exchange {
        /// Creates an exchange, or checks that it is there.
        10 Declare[short] {
            /// The name.
            exchange: shortstr,
            /// direct, fanout, topic, headers, or a plugin's type.
            kind: shortstr,
            /// Only check.
            passive: bit,
            /// Survives a restart of the broker.
            durable: bit,
            /// Deleted when its last binding goes.
            auto_delete: bit,
            /// Only other exchanges may publish to it.
            internal: bit,
            /// Do not answer.
            no_wait: bit,
            /// Further arguments, such as `alternate-exchange`.
            arguments: table,
        } => ExchangeDeclare
        /// The exchange is there.
        11 DeclareOk {} => ExchangeDeclareOk
        /// Deletes an exchange.
        20 Delete[short] {
            /// The name.
            exchange: shortstr,
            /// Only when nothing is bound to it.
            if_unused: bit,
            /// Do not answer.
            no_wait: bit,
        } => ExchangeDelete
        /// The exchange is gone.
        21 DeleteOk {} => ExchangeDeleteOk
        /// Binds an exchange to another (RabbitMQ).
        30 Bind[short] {
            /// Where messages go.
            destination: shortstr,
            /// Where they come from.
            source: shortstr,
            /// Which of them.
            routing_key: shortstr,
            /// Do not answer.
            no_wait: bit,
            /// Which of them, for a headers exchange.
            arguments: table,
        } => ExchangeBind
        /// The binding is there (RabbitMQ).
        31 BindOk {} => ExchangeBindOk
        /// Removes a binding between exchanges (RabbitMQ).
        40 Unbind[short] {
            /// Where messages went.
            destination: shortstr,
            /// Where they came from.
            source: shortstr,
            /// Which of them.
            routing_key: shortstr,
            /// Do not answer.
            no_wait: bit,
            /// Which of them, for a headers exchange.
            arguments: table,
        } => ExchangeUnbind
        /// The binding is gone (RabbitMQ). Its id is 51, not 41.
        51 UnbindOk {} => ExchangeUnbindOk
    }

    /// Queues: where messages wait.
    50 queue {
        /// Creates a queue, or checks that it is there.
        10 Declare[short] {
            /// The name; empty lets the server choose one.
            queue: shortstr,
            /// Only check.
            passive: bit,
            /// Survives a restart of the broker.
            durable: bit,
            /// Only this connection may use it, and it goes with the connection.
            exclusive: bit,
            /// Deleted when its last consumer goes.
            auto_delete: bit,
            /// Do not answer.
            no_wait: bit,
            /// Further arguments, such as `x-message-ttl`.
            arguments: table,
        } => QueueDeclare
        /// The queue is there.
        11 DeclareOk {
            /// Its name.
            queue: shortstr,
            /// Messages that are ready in it.
            message_count: long,
            /// Consumers that it has.
            consumer_count: long,
        } => QueueDeclareOk
        /// Binds a queue to an exchange.
        20 Bind[short] {
            /// The queue; empty means the last one declared on this channel.
            queue: shortstr,
            /// The exchange.
            exchange: shortstr,
            /// Which messages.
            routing_key: shortstr,
            /// Do not answer.
            no_wait: bit,
            /// Which messages, for a headers exchange.
            arguments: table,
        } => QueueBind
        /// The binding is there.
        21 BindOk {} => QueueBindOk
        /// Drops the messages that are ready.
        30 Purge[short] {
            /// The queue; empty means the last one declared on this channel.
            queue: shortstr,
            /// Do not answer.
            no_wait: bit,
        } => QueuePurge
        /// The queue is purged.
        31 PurgeOk {
            /// Messages that were dropped.
            message_count: long,
        } => QueuePurgeOk
        /// Deletes a queue.
        40 Delete[short] {
            /// The queue; empty means the last one declared on this channel.
            queue: shortstr,
            /// Only when it has no consumers.
            if_unused: bit,
            /// Only when it has no messages.
            if_empty: bit,
            /// Do not answer.
            no_wait: bit,
        } => QueueDelete
        /// The queue is gone.
        41 DeleteOk {
            /// Messages that went with it.
            message_count: long,
        } => QueueDeleteOk
        /// Removes a binding.
        50 Unbind[short] {
            /// The queue; empty means the last one declared on this channel.
            queue: shortstr,
            /// The exchange.
            exchange: shortstr,
            /// Which messages.
            routing_key: shortstr,
            /// Which messages, for a headers exchange.
            arguments: table,
        } => QueueUnbind
        /// The binding is gone.
        51 UnbindOk {} => QueueUnbindOk
    }

    /// Messages.
    60 basic {
        /// Limits how many unacknowledged messages are under way.
        10 Qos {
            /// Must be 0: RabbitMQ has no limit in bytes.
            prefetch_size: long,
            /// How many messages; 0 means no limit.
            prefetch_count: short,
            /// RabbitMQ: false is for each new consumer of the channel, true for the channel.
            global: bit,
        } => BasicQos
        /// The limit holds.
        11 QosOk {} => BasicQosOk
        /// Starts a consumer.
        20 Consume[short] {
            /// The queue; empty means the last one declared on this channel.
            queue: shortstr,
            /// The consumer's name; empty lets the server choose one.
            consumer_tag: shortstr,
            /// Not the messages that this connection published. RabbitMQ ignores it.
            no_local: bit,
            /// Messages count as acknowledged once sent.
            no_ack: bit,
            /// Nobody else may consume.
            exclusive: bit,
            /// Do not answer.
            no_wait: bit,
            /// Further arguments, such as `x-priority`.
            arguments: table,
        } => BasicConsume
        /// The consumer runs.
        21 ConsumeOk {
            /// The consumer's name.
            consumer_tag: shortstr,
        } => BasicConsumeOk
        /// Ends a consumer. The server sends it too, when the queue goes (RabbitMQ).
        30 Cancel {
            /// The consumer's name.
            consumer_tag: shortstr,
            /// Do not answer.
            no_wait: bit,
        } => BasicCancel
        /// The consumer has ended.
        31 CancelOk {
            /// The consumer's name.
            consumer_tag: shortstr,
        } => BasicCancelOk
        /// Publishes a message, whose content follows.
        40 Publish[short] {
            /// The exchange; empty is the default exchange.
            exchange: shortstr,
            /// The routing key.
            routing_key: shortstr,
            /// Send the message back when no queue takes it.
            mandatory: bit,
            /// RabbitMQ refuses it.
            immediate: bit,
        } => BasicPublish
        /// A mandatory message comes back, and its content follows.
        50 Return {
            /// Why.
            reply_code: short,
            /// Why, in words.
            reply_text: shortstr,
            /// The exchange it was published to.
            exchange: shortstr,
            /// The routing key it was published with.
            routing_key: shortstr,
        } => BasicReturn
        /// A message for a consumer, whose content follows.
        60 Deliver {
            /// The consumer's name.
            consumer_tag: shortstr,
            /// The number to acknowledge it with.
            delivery_tag: longlong,
            /// It may have been delivered before.
            redelivered: bit,
            /// The exchange it was published to.
            exchange: shortstr,
            /// The routing key it was published with.
            routing_key: shortstr,
        } => BasicDeliver
        /// Asks for one message.
        70 Get[short] {
            /// The queue; empty means the last one declared on this channel.
            queue: shortstr,
            /// The message counts as acknowledged once sent.
            no_ack: bit,
        } => BasicGet
        /// The message that was asked for, whose content follows.
        71 GetOk {
            /// The number to acknowledge it with.
            delivery_tag: longlong,
            /// It may have been delivered before.
            redelivered: bit,
            /// The exchange it was published to.
            exchange: shortstr,
            /// The routing key it was published with.
            routing_key: shortstr,
            /// Messages that are left in the queue.
            message_count: long,
        } => BasicGetOk
        /// The queue has no message.
        72 GetEmpty {}[shortstr] => BasicGetEmpty
        /// Acknowledges deliveries; from the server, confirms publishes (RabbitMQ).
        80 Ack {
            /// Which one.
            delivery_tag: longlong,
            /// And all before it; with tag 0, all.
            multiple: bit,
        } => BasicAck
        /// Refuses a delivery.
        90 Reject {
            /// Which one.
            delivery_tag: longlong,
            /// Put it back into the queue, or else drop or dead-letter it.
            requeue: bit,
        } => BasicReject
        /// Asks for redelivery, without an answer. Deprecated.
        100 RecoverAsync {
            /// Put the messages back into their queues.
            requeue: bit,
        } => BasicRecoverAsync
        /// Asks for redelivery of everything that is not acknowledged.
        110 Recover {
            /// Put the messages back into their queues.
            requeue: bit,
        } => BasicRecover
        /// The messages will be redelivered.
        111 RecoverOk {} => BasicRecoverOk
        /// Refuses deliveries; from the server, a publish that it could not take (RabbitMQ).
        120 Nack {
            /// Which one.
            delivery_tag: longlong,
            /// And all before it; with tag 0, all.
            multiple: bit,
            /// Put them back into the queue, or else drop or dead-letter them.
            requeue: bit,
        } => BasicNack
    }

    /// Publisher confirms (RabbitMQ).
    85 confirm {
        /// Turns confirms on for the channel.
        10 Select {
            /// Do not answer.
            no_wait: bit,
        } => ConfirmSelect
        /// Confirms are on.
        11 SelectOk {} => ConfirmSelectOk
    }

    /// Transactions.
    90 tx {
        /// Turns transactions on for the channel.
        10 Select {} => TxSelect
        /// Transactions are on.
        11 SelectOk {} => TxSelectOk
        /// Commits.
        20 Commit {} => TxCommit
        /// The transaction is committed.
        21 CommitOk {} => TxCommitOk
        /// Rolls back.
        30 Rollback {} => TxRollback
        /// The transaction is rolled back.
        31 RollbackOk {} => TxRollbackOk
    }
}
