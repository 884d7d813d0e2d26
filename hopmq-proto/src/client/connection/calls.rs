use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::Instant;
use crate::amqp::{Method, ShortStr};
use crate::client::Token;

/// The calls of one channel that wait for a reply, oldest first.
///
/// The server answers them in order, but for `basic.consume` and `basic.cancel`: RabbitMQ has their queue answer, so
/// that what was called later may be answered earlier.
///
/// A call whose caller has gone stays as a tombstone, so that the reply to it is not taken for another's.
#[derive(Debug, Default)]
pub(super) struct Calls {
    waiting: VecDeque<Call>,
    /// Those that are sent when the channel is back, oldest first.
    unsent: VecDeque<Unsent>,
}

#[derive(Debug)]
pub(super) struct Call {
    /// `None` once the caller has been answered or has gone.
    pub(super) token: Option<Token>,
    pub(super) expects: Expects,
    due: Instant,
    /// It is the channel's own, to be as it was before a loss.
    pub(super) own: bool,
    /// What was called, where that outlives a loss of the connection.
    pub(super) method: Option<Box<Method>>,
}

/// A call that waits for the connection to come back.
#[derive(Debug)]
pub(super) struct Unsent {
    /// `None` once the caller has gone.
    pub(super) token: Option<Token>,
    pub(super) method: Method,
    pub(super) due: Instant,
}

/// What answers a call.
#[derive(Debug)]
pub(super) enum Expects {
    /// `channel.open-ok`.
    ChannelOpen,
    /// `basic.consume-ok`.
    Consume {
        /// The token of the call, which deliveries carry.
        consumer: Token,
        no_ack: bool,
        /// The name that it was given; empty when the server chooses one.
        tag: ShortStr,
        /// The prefetch that it was started with.
        prefetch: u16,
    },
    /// `basic.cancel-ok` for this consumer.
    Cancel(ShortStr),
    /// `queue.declare-ok` for the call with this token.
    Declare(Token),
    /// `basic.get-ok` with a message, or `basic.get-empty`.
    Get { no_ack: bool },
    /// The method with this id.
    Method((u16, u16)),
    /// No answer: it is done when what was called before it is answered.
    Nothing,
}

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.unsent.len()
    }

    pub(super) fn push(
        &mut self,
        token: Option<Token>,
        expects: Expects,
        due: Instant,
        method: Option<Box<Method>>,
    ) {
        self.waiting.push_back(Call { token, expects, due, own: false, method });
    }

    /// A call of the channel's own.
    pub(super) fn push_own(&mut self, expects: Expects, due: Instant) {
        self.waiting.push_back(Call { token: None, expects, due, own: true, method: None });
    }

    /// What asks for no answer, behind calls that are not answered yet.
    pub(super) fn push_no_wait(&mut self, method: Method, due: Instant) {
        self.push(None, Expects::Nothing, due, Some(Box::new(method)));
    }

    /// What asked for no answer, and is done now that the calls before it are answered.
    pub(super) fn pop_done(&mut self) -> Option<Method> {
        self.waiting.front().filter(|call| matches!(call.expects, Expects::Nothing))?;
        self.waiting.pop_front()?.method.map(|method| *method)
    }

    /// Whether somebody waits for an answer.
    pub(super) fn has_callers(&self) -> bool {
        self.waiting.iter().any(|call| call.token.is_some())
    }

    /// The consumers that the channel is starting again, oldest first.
    pub(super) fn own_consumers(&self) -> impl Iterator<Item = Token> {
        self.waiting.iter().filter(|call| call.own).filter_map(|call| match call.expects {
            Expects::Consume { consumer, .. } => Some(consumer),
            _ => None,
        })
    }

    /// The consumer that the channel is starting again, if nothing before it waits for its answer.
    pub(super) fn first_own_consumer(&self) -> Option<Token> {
        match self.waiting.front()? {
            Call { own: true, expects: Expects::Consume { consumer, .. }, .. } => Some(*consumer),
            _ => None,
        }
    }

    /// A call for when the channel is back.
    pub(super) fn push_unsent(&mut self, token: Option<Token>, method: Method, due: Instant) {
        self.unsent.push_back(Unsent { token, method, due });
    }

    pub(super) fn pop_unsent(&mut self) -> Option<Unsent> {
        self.unsent.pop_front()
    }

    /// The connection was lost. What can be repeated is to be sent again, if `repeat` says so; gives the other calls.
    pub(super) fn on_lost(&mut self, repeat: bool) -> Vec<Call> {
        let mut others = Vec::new();
        let mut unsent = VecDeque::new();
        for call in core::mem::take(&mut self.waiting) {
            match call {
                Call { own: true, .. } => {}
                Call { token, due, method: Some(method), .. }
                    if repeat && (is_repeatable(&method, token) || is_in_turn(&unsent, &method)) =>
                {
                    unsent.push_back(Unsent { token, method: *method, due });
                }
                call => others.push(call),
            }
        }
        unsent.append(&mut self.unsent);
        self.unsent = unsent;
        others
    }

    /// The server has named a queue: the calls behind its declare that mean it by the empty name get the name.
    pub(super) fn name_queue(&mut self, name: &ShortStr) {
        let is_declare = |call: &Call| matches!(call.method.as_deref(), Some(Method::QueueDeclare(_)));
        let behind = self.waiting.iter_mut().take_while(|call| !is_declare(call));
        for method in behind.filter_map(|call| call.method.as_deref_mut()) {
            super::last_queue::put_name(method, name);
        }
    }

    /// The call that `method` answers, if it answers one. A get that brings a message is answered later, by
    /// [`answered_by_message`](Calls::answered_by_message).
    pub(super) fn answered_by(&mut self, method: &Method) -> Option<Call> {
        let at = match method {
            // Those that are named are known by their names, whichever is answered first.
            Method::BasicConsumeOk(ok) => self
                .next_answered(|expects| expects.is_consume(&ok.consumer_tag))
                .or_else(|| self.next_answered(|expects| expects.is_consume(&ShortStr::empty()))),
            method => self.next_answered(|expects| expects.matches(method)),
        };
        self.waiting.remove(at?)
    }

    /// Whether `get-ok` would answer a call.
    pub(super) fn awaits_message(&self) -> bool {
        self.next_answered(Expects::is_get).is_some()
    }

    /// The get whose message is whole.
    pub(super) fn answered_by_message(&mut self) -> Option<Call> {
        let at = self.next_answered(Expects::is_get)?;
        self.waiting.remove(at)
    }

    /// The oldest call that has such an answer, if all those before it may be answered later.
    fn next_answered(&self, is_answer: impl Fn(&Expects) -> bool) -> Option<usize> {
        let mut calls = self.waiting.iter();
        let at = calls.position(|call| is_answer(&call.expects) || !call.expects.may_be_late())?;
        self.waiting.get(at).filter(|call| is_answer(&call.expects)).map(|_| at)
    }

    /// Makes a tombstone of the call.
    pub(super) fn abandon(&mut self, token: Token) {
        if let Some(call) = self.waiting.iter_mut().find(|call| call.token == Some(token)) {
            call.token = None;
        } else if let Some(call) = self.unsent.iter_mut().find(|call| call.token == Some(token)) {
            call.token = None;
        }
    }

    /// The token of a call that is due, which becomes a tombstone. One that was repeated after a loss may be due before
    /// those in front of it.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Token> {
        let mut sent = self.waiting.iter_mut().filter(|call| call.due <= now);
        let mut unsent = self.unsent.iter_mut().filter(|call| call.due <= now);
        sent.find_map(|call| call.token.take()).or_else(|| unsent.find_map(|call| call.token.take()))
    }

    /// When the first call that somebody waits for is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let sent = self.waiting.iter().filter(|call| call.token.is_some()).map(|call| call.due);
        let unsent = self.unsent.iter().filter(|call| call.token.is_some()).map(|call| call.due);
        sent.chain(unsent).min()
    }

    /// Forgets all calls, and gives the tokens to resolve.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Token> {
        let Self { waiting, unsent } = core::mem::take(self);
        let sent = waiting.into_iter().filter_map(|call| call.token);
        sent.chain(unsent.into_iter().filter_map(|call| call.token))
    }
}

impl Expects {
    fn matches(&self, method: &Method) -> bool {
        match self {
            Self::ChannelOpen => matches!(method, Method::ChannelOpenOk(_)),
            Self::Consume { .. } => false, // see `is_consume`
            Self::Declare(_) => matches!(method, Method::QueueDeclareOk(_)),
            Self::Cancel(tag) => matches!(method, Method::BasicCancelOk(ok) if ok.consumer_tag == *tag),
            Self::Get { .. } => matches!(method, Method::BasicGetEmpty(_)),
            Self::Method(id) => method.id() == *id,
            Self::Nothing => false,
        }
    }

    fn is_consume(&self, named: &ShortStr) -> bool {
        matches!(self, Self::Consume { tag, .. } if tag == named)
    }

    const fn is_get(&self) -> bool {
        matches!(self, Self::Get { .. })
    }

    /// Whether what was called later may be answered earlier.
    const fn may_be_late(&self) -> bool {
        matches!(self, Self::Consume { .. } | Self::Cancel(_) | Self::Nothing)
    }

    /// What answers `method`; `None` when it is not a call, or one that asks for no answer.
    pub(super) fn of(method: &Method, token: Token) -> Option<Self> {
        Some(match method {
            Method::BasicConsume(consume) if !consume.no_wait => Self::Consume {
                consumer: token,
                no_ack: consume.no_ack,
                tag: consume.consumer_tag.clone(),
                prefetch: 0,
            },
            Method::BasicCancel(cancel) if !cancel.no_wait => Self::Cancel(cancel.consumer_tag.clone()),
            Method::BasicGet(get) => Self::Get { no_ack: get.no_ack },
            Method::ExchangeDeclare(m) if !m.no_wait => Self::Method((40, 11)),
            Method::ExchangeDelete(m) if !m.no_wait => Self::Method((40, 21)),
            Method::ExchangeBind(m) if !m.no_wait => Self::Method((40, 31)),
            Method::ExchangeUnbind(m) if !m.no_wait => Self::Method((40, 51)),
            Method::QueueDeclare(m) if !m.no_wait => Self::Declare(token),
            Method::QueueBind(m) if !m.no_wait => Self::Method((50, 21)),
            Method::QueuePurge(m) if !m.no_wait => Self::Method((50, 31)),
            Method::QueueDelete(m) if !m.no_wait => Self::Method((50, 41)),
            Method::QueueUnbind(_) => Self::Method((50, 51)),
            Method::BasicQos(_) => Self::Method((60, 11)),
            Method::BasicRecover(_) => Self::Method((60, 111)),
            Method::ConfirmSelect(m) if !m.no_wait => Self::Method((85, 11)),
            Method::TxSelect(_) => Self::Method((90, 11)),
            Method::TxCommit(_) => Self::Method((90, 21)),
            Method::TxRollback(_) => Self::Method((90, 31)),
            _ => return None,
        })
    }
}

/// Whether the server answers only with an error, which ends the channel. `basic.consume` and `basic.cancel` are
/// none of these: who consumes must know since when and until when.
pub(super) const fn asks_for_no_answer(method: &Method) -> bool {
    match method {
        Method::ExchangeDeclare(m) => m.no_wait,
        Method::ExchangeDelete(m) => m.no_wait,
        Method::ExchangeBind(m) => m.no_wait,
        Method::ExchangeUnbind(m) => m.no_wait,
        Method::QueueDeclare(m) => m.no_wait,
        Method::QueueBind(m) => m.no_wait,
        Method::QueuePurge(m) => m.no_wait,
        Method::QueueDelete(m) => m.no_wait,
        _ => false,
    }
}

/// Whether it cancels a consumer that what is sent again before it may start, or may need: an auto-delete queue goes
/// with its last consumer.
fn is_in_turn(unsent: &VecDeque<Unsent>, method: &Method) -> bool {
    matches!(method, Method::BasicCancel(_)) && !unsent.is_empty()
}

/// Whether a call can be made again when nobody knows whether it took effect: what it asks for is then so, once.
fn is_repeatable(method: &Method, token: Option<Token>) -> bool {
    match method {
        Method::ChannelOpen(_) | Method::BasicConsume(_) => token.is_some(),
        Method::ExchangeDeclare(_)
        | Method::ExchangeBind(_)
        | Method::QueueDeclare(_)
        | Method::QueueBind(_)
        | Method::BasicQos(_)
        | Method::ConfirmSelect(_) => true,
        // Nobody is there to be told that it may not have happened.
        Method::ExchangeDelete(_) | Method::ExchangeUnbind(_) | Method::QueueDelete(_) => {
            asks_for_no_answer(method)
        }
        _ => false,
    }
}
