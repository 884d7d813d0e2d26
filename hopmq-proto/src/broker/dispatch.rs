use alloc::format;
use alloc::vec::Vec;

use crate::Instant;
use crate::amqp::{Arguments, Method, Reader, ReplyCode, access, basic, channel, confirm};

use super::engine::Broker;
use super::fault::Fault;
use super::input::{method_id, syntax};
use super::session::{At, Confirms};

/// What a method is answered with, if anything.
pub(super) type Reply = Result<Option<Method>, Fault>;

/// A reply, unless the client wants none.
pub(super) fn unless(no_wait: bool, reply: impl Into<Method>) -> Reply {
    Ok(if no_wait { None } else { Some(reply.into()) })
}

impl Broker {
    /// A method on an open channel.
    pub(super) fn on_channel_method(&mut self, at: At, payload: &[u8], _now: Instant) -> Result<(), Fault> {
        let id = method_id(payload);
        let blame = |fault: Fault| if fault.method == (0, 0) { fault.on(id) } else { fault };
        if id == basic::Ack::ID {
            let ack = basic::Ack::read(Reader::new(payload.get(4..).unwrap_or_default()));
            let ack = ack.map_err(|error| syntax(error).on(id))?;
            return self.on_ack(at, &ack).map_err(blame);
        }
        let method = Method::decode(payload).map_err(|error| syntax(error).on(id))?;
        let reply = self.dispatch(at, method).map_err(blame)?;
        if let (Some(reply), Some(link)) = (reply, self.links.get_mut(at.connection)) {
            link.send(at.channel, &reply);
        }
        Ok(())
    }

    fn dispatch(&mut self, at: At, method: Method) -> Reply {
        match method {
            Method::ChannelOpen(_) => Err(Fault::new(ReplyCode::CHANNEL_ERROR, "second 'channel.open' seen")),
            Method::ChannelClose(_) => {
                self.on_channel_close(at);
                Ok(None)
            }
            // An answer to a close of ours that crossed with one of the client's.
            Method::ChannelCloseOk(_) => Ok(None),
            Method::ChannelFlow(channel::Flow { active: true }) => {
                unless(false, channel::FlowOk { active: true })
            }
            Method::ChannelFlow(_) => Err(Fault::not_implemented("active=false")),
            Method::AccessRequest(_) => unless(false, access::RequestOk { ticket: 1 }),
            Method::ExchangeDeclare(declare) => self.on_exchange_declare(at, declare),
            Method::ExchangeDelete(delete) => self.on_exchange_delete(at, &delete),
            Method::ExchangeBind(bind) => self.on_exchange_bind(at, &bind),
            Method::ExchangeUnbind(unbind) => self.on_exchange_unbind(at, &unbind),
            Method::QueueDeclare(declare) => self.on_queue_declare(at, declare),
            Method::QueueBind(bind) => self.on_queue_bind(at, &bind),
            Method::QueueUnbind(unbind) => self.on_queue_unbind(at, &unbind),
            Method::QueuePurge(purge) => self.on_queue_purge(at, &purge),
            Method::QueueDelete(delete) => self.on_queue_delete(at, &delete),
            Method::BasicQos(qos) => self.on_qos(at, &qos),
            Method::BasicConsume(consume) => self.on_consume(at, consume),
            Method::BasicCancel(cancel) => self.on_cancel(at, cancel),
            Method::BasicGet(get) => self.on_get(at, &get),
            Method::BasicReject(reject) => self.on_reject(at, &reject),
            Method::BasicNack(nack) => self.on_nack(at, &nack),
            Method::BasicRecover(recover) => self.on_recover(at, recover.requeue, Some(basic::RecoverOk {})),
            Method::BasicRecoverAsync(recover) => self.on_recover(at, recover.requeue, None),
            Method::ConfirmSelect(select) => self.on_confirm_select(at, &select),
            Method::TxSelect(_) | Method::TxCommit(_) | Method::TxRollback(_) => {
                Err(Fault::not_implemented(format!("{} is not implemented", method.name())))
            }
            _ => Err(Fault::new(ReplyCode::COMMAND_INVALID, "unimplemented method")),
        }
    }

    fn on_confirm_select(&mut self, at: At, select: &confirm::Select) -> Reply {
        if let Some(channel) = self.channel(at)
            && matches!(channel.confirms, Confirms::Off)
        {
            channel.confirms = Confirms::On { published: 0, confirmed: 0, refused: Vec::new() };
        }
        unless(select.no_wait, confirm::SelectOk {})
    }
}
