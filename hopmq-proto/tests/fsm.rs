//! The lifecycle machine, with states that do what the event says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use hopmq_proto::Instant;
use hopmq_proto::fsm::{
    ENTRY, Error, FINAL, Kind, Lifecycle, MAX_QUEUED, MAX_STEPS, Machine, Observer, Outcome, Overdue, RETRY,
    Retry, Step, TIMEOUT, Table, Transition,
};
use proptest::collection::vec;
use proptest::prelude::*;

const DEADLINE: Duration = Duration::from_secs(10);
const POLICY: Retry =
    Retry { attempts: 3, initial: Duration::from_secs(1), factor: 2, max: Duration::from_secs(60) };

/// `Try` has a deadline, is tried three times and falls back to `Idle`; `Once` has a deadline and no fallback; `Idle` has
/// neither; `Last` is the end.
#[derive(Debug, Clone, PartialEq)]
enum Life {
    Idle,
    Try {
        /// What its `enter` answers.
        enters: Answer,
    },
    Once {
        handled: u32,
    },
    Last,
}

/// What a state is told to answer.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Done,
    Pending,
    Complete(Box<Life>),
    Reset(Box<Life>),
    /// Go there, and answer this to the same event.
    Reprocess(Box<Life>, Box<Answer>),
    Finalize,
    Unexpected,
    Fail,
}

use Answer::{Complete, Done, Fail, Finalize, Pending, Reprocess, Reset, Unexpected};
use Life::{Idle, Last, Once, Try};

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
enum Failure {
    #[error("as it was told")]
    Told,
    #[error(transparent)]
    Overdue(#[from] Overdue),
}

/// What the states share: a record of which were entered, and which attempt it was.
type Entered = Vec<(&'static str, u32)>;

impl Life {
    fn answer(&self, answer: Answer) -> Step<Self> {
        Ok(match answer {
            Done => Outcome::Done,
            Pending => Outcome::Pending,
            Complete(next) => Outcome::Complete(*next),
            Reset(next) => Outcome::Reset { next: *next, reprocess: None },
            Reprocess(next, again) => Outcome::Reset { next: *next, reprocess: Some(*again) },
            Finalize => Outcome::Finalize,
            Unexpected => Outcome::Unexpected(Unexpected),
            Fail => return Err(Failure::Told),
        })
    }
}

impl Lifecycle for Life {
    type Event = Answer;
    type Error = Failure;
    type Context<'c> = &'c mut Entered;

    const TABLE: Table = Table {
        initial: "Idle",
        rows: &[
            ("Idle", "complete", "Try"),
            ("Idle", "complete", "Once"),
            ("Idle", "reset", "Try"),
            ("Idle", "reset", "Idle"),
            ("Idle", "reprocess", "Try"),
            ("Idle", "reprocess", "Once"),
            ("Try", "reprocess", "Idle"),
            ("Try", "complete", "Once"),
            ("Try", ENTRY, "Once"),
            ("Try", ENTRY, "Idle"),
            ("Try", RETRY, "Try"),
            ("Try", TIMEOUT, "Idle"),
            ("Try", "fail", "Idle"),
            ("Once", "complete", "Last"),
            ("Once", "finalize", FINAL),
            ("Last", ENTRY, FINAL),
        ],
    };

    fn name(&self) -> &'static str {
        match self {
            Idle => "Idle",
            Try { .. } => "Try",
            Once { .. } => "Once",
            Last => "Last",
        }
    }

    fn event_name(event: &Answer) -> &'static str {
        match event {
            Done => "done",
            Pending => "pending",
            Complete(_) => "complete",
            Reset(_) => "reset",
            Reprocess(..) => "reprocess",
            Finalize => "finalize",
            Unexpected => "unexpected",
            Fail => "fail",
        }
    }

    fn enter(&mut self, attempt: u32, entered: &mut &mut Entered, _now: Instant) -> Step<Self> {
        entered.push((self.name(), attempt));
        match self {
            Idle => Ok(Outcome::Done),
            Try { enters } => {
                let answer = enters.clone();
                self.answer(answer)
            }
            Once { .. } => Ok(Outcome::Pending),
            Last => Ok(Outcome::Finalize),
        }
    }

    fn handle(&mut self, event: Answer, _entered: &mut &mut Entered, _now: Instant) -> Step<Self> {
        if let Once { handled } = self {
            *handled += 1;
        }
        self.answer(event)
    }

    fn deadline(&self, _entered: &&mut Entered) -> Option<Duration> {
        matches!(self, Try { .. } | Once { .. }).then_some(DEADLINE)
    }

    fn retry(&self, _error: &Failure, attempt: u32, _entered: &&mut Entered) -> Option<Duration> {
        if let Try { .. } = self { POLICY.pause(attempt) } else { None }
    }

    fn fallback(
        &mut self,
        error: Failure,
        _entered: &mut &mut Entered,
        _now: Instant,
    ) -> Result<Self, Failure> {
        if let Try { .. } = self { Ok(Idle) } else { Err(error) }
    }
}

/// Every transition, with the states before and after it.
#[derive(Debug, Default, Clone, PartialEq)]
struct Log {
    before: Vec<(Transition, &'static str)>,
    after: Vec<(Transition, &'static str)>,
}

impl Observer<Life> for Log {
    fn before(&mut self, transition: &Transition, from: &Life) {
        assert_eq!(self.before.len(), self.after.len(), "transitions do not nest");
        self.before.push((*transition, from.name()));
    }

    fn after(&mut self, transition: &Transition, to: &Life) {
        self.after.push((*transition, to.name()));
        assert_eq!(self.before.len(), self.after.len(), "before comes before after");
    }
}

impl Log {
    fn kinds(&self) -> Vec<(Kind, &'static str)> {
        self.after.iter().map(|(transition, _)| (transition.kind, transition.to)).collect()
    }
}

/// A machine, its context, and the time.
#[derive(Debug, Clone)]
struct World {
    machine: Machine<Life, Log>,
    entered: Entered,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let machine = Machine::observed(Idle, Log::default());
        Self { machine, entered: Entered::new(), now: Instant::from_nanos(1_000) }
    }

    fn with(answers: impl IntoIterator<Item = Answer>) -> Self {
        let mut world = Self::new();
        answers.into_iter().for_each(|answer| world.tell(answer).unwrap());
        world
    }

    fn tell(&mut self, answer: Answer) -> Result<(), Error<Answer, Failure>> {
        self.machine.handle(answer, &mut &mut self.entered, self.now)
    }

    /// Goes to when something is due, and does it.
    fn wait(&mut self) -> Result<(), Error<Answer, Failure>> {
        self.now = self.machine.poll_timeout().expect("nothing is due").max(self.now);
        self.machine.handle_timeout(&mut &mut self.entered, self.now)
    }

    fn due_in(&self) -> Option<Duration> {
        self.machine.poll_timeout().map(|due| due - self.now)
    }
}

fn tries(enters: Answer) -> Answer {
    Complete(Box::new(Try { enters }))
}

fn once() -> Answer {
    Complete(Box::new(Once { handled: 0 }))
}

#[test]
fn the_first_state_is_entered_by_the_first_call() {
    let mut world = World::new();
    assert_eq!(world.machine.poll_timeout(), Some(Instant::ZERO), "work waits");
    world.machine.run(&mut &mut world.entered, world.now).unwrap();
    assert_eq!(world.entered, [("Idle", 1)]);
    assert_eq!(world.machine.poll_timeout(), None);
}

#[test]
fn complete_and_reset_enter_the_next_state_and_finalize_ends() {
    let mut world = World::with([Reset(Box::new(Idle)), tries(Pending), once(), Done]);
    assert_eq!(world.machine.state(), &Once { handled: 1 }, "the state's own data");
    world.tell(Complete(Box::new(Last))).unwrap();
    assert!(world.machine.has_ended());
    assert_eq!(world.machine.state(), &Last);
    assert_eq!(world.entered, [("Idle", 1), ("Idle", 1), ("Try", 1), ("Once", 1), ("Last", 1)]);
    let expected = [
        (Kind::Reset, "Idle"),
        (Kind::Complete, "Try"),
        (Kind::Complete, "Once"),
        (Kind::Complete, "Last"),
        (Kind::Finalize, FINAL),
    ];
    assert_eq!(world.machine.observer().kinds(), expected);
    assert_eq!(world.machine.poll_timeout(), None);
}

#[test]
fn what_comes_after_the_end_is_given_back() {
    let mut world = World::with([once(), Finalize]);
    let late = world.tell(Done).unwrap_err();
    assert_eq!(late, Error::Ended { state: "Once", name: "done", event: Done });
    assert_eq!(late.into_event(), Some(Done));
    assert_eq!(world.machine.state(), &Once { handled: 1 });
}

#[test]
fn what_waited_in_the_queue_at_the_end_is_given_back_one_by_one() {
    let mut world = World::with([once()]);
    for answer in [Finalize, Done, Pending] {
        world.machine.queue(answer).unwrap();
    }
    let mut back = Vec::new();
    while let Err(error) = world.machine.run(&mut &mut world.entered, world.now) {
        back.push(error.into_event().unwrap());
    }
    assert_eq!(back, [Done, Pending]);
}

#[test]
fn an_unexpected_event_is_given_back_and_changes_nothing() {
    let mut world = World::with([tries(Pending)]);
    let before = world.clone();
    let error = world.tell(Unexpected).unwrap_err();
    assert_eq!(error.to_string(), "Try does not expect unexpected");
    assert_eq!(error.into_event(), Some(Unexpected));
    assert_eq!(world.machine.state(), before.machine.state());
    assert_eq!(world.due_in(), before.due_in());
    assert!(!world.machine.has_ended());
    world.tell(once()).unwrap();
}

#[test]
fn what_waits_behind_an_unexpected_event_stays_in_the_queue() {
    let mut world = World::with([once()]);
    world.machine.queue(Unexpected).unwrap();
    world.machine.queue(Done).unwrap();
    world.machine.run(&mut &mut world.entered, world.now).unwrap_err();
    assert_eq!(world.machine.poll_timeout(), Some(Instant::ZERO), "work waits");
    world.wait().unwrap();
    assert_eq!(world.machine.state(), &Once { handled: 2 });
}

#[test]
fn the_queue_is_bounded() {
    let mut world = World::new();
    for _ in 0..MAX_QUEUED {
        world.machine.queue(Done).unwrap();
    }
    assert_eq!(world.machine.queue(Pending), Err(Error::Full { name: "pending", event: Pending }));
    world.machine.run(&mut &mut world.entered, world.now).unwrap();
    world.machine.queue(Pending).unwrap();
}

#[test]
fn an_event_can_be_handled_again_by_the_next_state_before_what_waits_behind_it() {
    let mut world = World::new();
    world
        .machine
        .queue(Reprocess(Box::new(Once { handled: 0 }), Box::new(Complete(Box::new(Last)))))
        .unwrap();
    world.machine.queue(Done).unwrap();
    let late = world.machine.run(&mut &mut world.entered, world.now).unwrap_err();
    assert_eq!(late.into_event(), Some(Done));
    assert_eq!(world.machine.state(), &Last);
}

#[test]
fn an_event_that_goes_round_and_round_halts_the_machine() {
    let round = |answer| {
        let idle = Reprocess(Box::new(Idle), Box::new(answer));
        Reprocess(Box::new(Try { enters: Done }), Box::new(idle))
    };
    let enough = (0..MAX_STEPS / 2).fold(Done, |answer, _| round(answer));
    World::with([enough.clone(), enough.clone()]);
    assert_eq!(World::new().tell(round(enough)), Err(Error::Endless { state: "Idle" }));
}

#[test]
fn a_transition_that_is_not_in_the_table_is_not_taken_and_halts_the_machine() {
    let mut world = World::with([]);
    let Err(Error::NotInTable(transition)) = world.tell(Complete(Box::new(Last))) else { panic!() };
    assert_eq!((transition.from, transition.event, transition.to), ("Idle", "complete", "Last"));
    assert_eq!(world.machine.state(), &Idle);
    assert!(world.machine.has_ended());
    assert!(world.machine.observer().before.is_empty());
}

#[test]
fn a_deadline_runs_from_when_a_state_is_first_pending_until_it_is_done() {
    let mut world = World::with([once()]);
    assert_eq!(world.due_in(), Some(DEADLINE), "pending on entry");
    world.now = world.now + Duration::from_secs(4);
    world.tell(Pending).unwrap();
    assert_eq!(world.due_in(), Some(DEADLINE - Duration::from_secs(4)), "still the same");
    world.tell(Done).unwrap();
    assert_eq!(world.due_in(), None);
    world.tell(Pending).unwrap();
    assert_eq!(world.due_in(), Some(DEADLINE));
}

#[test]
fn a_timeout_before_the_deadline_does_nothing() {
    let mut world = World::with([once()]);
    let due = world.machine.poll_timeout().unwrap();
    let early = Instant::from_nanos(due.as_nanos() - 1);
    world.machine.handle_timeout(&mut &mut world.entered, early).unwrap();
    assert_eq!(world.machine.poll_timeout(), Some(due));
}

#[test]
fn a_state_without_fallback_halts_with_its_error() {
    let mut world = World::with([once()]);
    let overdue = Failure::Overdue(Overdue { state: "Once" });
    assert_eq!(world.wait(), Err(Error::Failed { state: "Once", error: overdue }));
    assert!(world.machine.has_ended());

    let error = World::with([once()]).tell(Fail).unwrap_err();
    assert_eq!(error.to_string(), "Once has failed: as it was told");
}

#[test]
fn a_state_is_retried_with_growing_pauses_and_falls_back() {
    let mut world = World::with([tries(Pending)]);
    let mut dues = Vec::new();
    while let Some(due) = world.due_in() {
        dues.push(due);
        world.wait().unwrap();
    }
    let pause = |attempt| POLICY.pause(attempt).unwrap();
    assert_eq!(dues, [DEADLINE, pause(1), DEADLINE, pause(2), DEADLINE]);
    assert_eq!(world.entered, [("Idle", 1), ("Try", 1), ("Try", 2), ("Try", 3), ("Idle", 1)]);
    let kinds = world.machine.observer().kinds();
    assert_eq!(kinds[1..], [(Kind::Retry, "Try"), (Kind::Retry, "Try"), (Kind::Fallback, "Idle")]);
}

#[test]
fn an_entry_that_fails_is_retried_and_attempts_count_anew_in_the_next_visit() {
    let mut world = World::with([tries(Fail)]);
    world.wait().unwrap();
    world.wait().unwrap();
    assert_eq!(world.machine.state(), &Idle);
    world.tell(tries(Fail)).unwrap();
    let visit = [("Idle", 1), ("Try", 1), ("Try", 2), ("Try", 3)];
    assert_eq!(world.entered[..4], visit);
    assert_eq!(world.entered[4..], visit[..2]);
}

#[test]
fn events_are_handled_during_the_pause_and_leave_it_as_it_is() {
    let mut world = World::with([tries(Pending), Fail]);
    assert_eq!(world.due_in(), POLICY.pause(1));
    for answer in [Done, Pending, Fail] {
        world.now = world.now + Duration::from_millis(1);
        world.tell(answer).unwrap();
    }
    assert_eq!(world.due_in(), POLICY.pause(1).map(|pause| pause - Duration::from_millis(3)));
    world.tell(once()).unwrap();
    assert_eq!(world.due_in(), Some(DEADLINE), "of the state that was entered");
}

#[test]
fn every_state_of_the_table_can_be_reached_and_others_are_told() {
    assert!(Life::TABLE.unreachable().is_empty());
    let rows = &[("A", "x", "B"), ("C", "x", "A"), ("D", "x", "D")];
    assert_eq!(Table { initial: "A", rows }.unreachable(), ["C", "D"]);
}

#[test]
fn a_pair_of_observers_sees_the_same() {
    let mut machine = Machine::observed(Idle, (Log::default(), Log::default()));
    machine.handle(once(), &mut &mut Entered::new(), Instant::ZERO).unwrap();
    let (first, second) = machine.observer();
    assert_eq!(first.kinds(), [(Kind::Complete, "Once")]);
    assert_eq!(first, second);
}

#[derive(Debug, Clone)]
enum Action {
    Tell(Answer),
    Queue(Answer),
    /// Time passes, as much as this.
    Pass(Duration),
    /// Time passes until something is due.
    Wait,
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let simple = prop_oneof![
        3 => Just(Done),
        3 => Just(Pending),
        1 => Just(Finalize),
        1 => Just(Unexpected),
        3 => Just(Fail),
    ];
    simple.prop_recursive(3, 12, 2, |answer| {
        let life = prop_oneof![
            2 => Just(Idle),
            5 => answer.clone().prop_map(|enters| Try { enters }),
            4 => Just(Once { handled: 0 }),
            1 => Just(Last),
        ];
        let life = life.prop_map(Box::new).boxed();
        prop_oneof![
            2 => answer.clone(),
            4 => life.clone().prop_map(Complete),
            2 => life.clone().prop_map(Reset),
            2 => (life, answer).prop_map(|(next, again)| Reprocess(next, Box::new(again))),
        ]
    })
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => any_answer().prop_map(Action::Tell),
        1 => any_answer().prop_map(Action::Queue),
        2 => (0..15_000u64).prop_map(|millis| Action::Pass(Duration::from_millis(millis))),
        2 => Just(Action::Wait),
    ]
}

impl World {
    fn act(&mut self, action: Action) {
        let result = match action {
            Action::Tell(answer) => self.tell(answer),
            Action::Queue(answer) => self.machine.queue(answer),
            Action::Pass(time) => {
                self.now = self.now + time;
                self.machine.handle_timeout(&mut &mut self.entered, self.now)
            }
            Action::Wait if self.machine.poll_timeout().is_some() => self.wait(),
            Action::Wait => Ok(()),
        };
        let halts =
            matches!(result, Err(Error::Failed { .. } | Error::NotInTable(_) | Error::Endless { .. }));
        assert!(!halts || self.machine.has_ended());
    }

    /// Every transition is in the table, and begins where the last one has ended.
    fn check_transitions(&self) {
        let Log { before, after } = self.machine.observer();
        let mut state = Life::TABLE.initial;
        for ((transition, from), (same, to)) in before.iter().zip(after) {
            let Transition { from: left, event, to: entered, kind, .. } = *transition;
            assert!(Life::TABLE.rows.contains(&(left, event, entered)), "{transition:?}");
            assert_eq!((transition, state, *from), (same, left, left));
            assert_eq!(kind == Kind::Finalize, entered == FINAL);
            assert_eq!(*to, if kind == Kind::Finalize { left } else { entered });
            state = *to;
        }
        assert_eq!(self.machine.state().name(), state, "no other way leads here");
    }

    /// Everything that shows.
    fn told(&self) -> (&Life, &Log, &Entered, Option<Instant>, bool) {
        let machine = &self.machine;
        (machine.state(), machine.observer(), &self.entered, machine.poll_timeout(), machine.has_ended())
    }

    /// What is due at `poll_timeout` happens then, and nothing before; where nothing is due, nothing happens ever.
    fn check_timeout(&self) {
        let Some(due) = self.machine.poll_timeout() else {
            let mut later = self.clone();
            let _ = later.machine.handle_timeout(&mut &mut later.entered, self.now + 100 * DEADLINE);
            assert_eq!(later.told(), self.told());
            return;
        };
        let mut early = self.clone();
        if let Some(nanos) = due.as_nanos().checked_sub(1)
            && Instant::from_nanos(nanos) >= self.now
        {
            early.machine.handle_timeout(&mut &mut early.entered, Instant::from_nanos(nanos)).unwrap();
            assert_eq!(early.told(), self.told());
        }
        let mut on_time = self.clone();
        if on_time.wait().is_ok() {
            assert_ne!(on_time.told(), self.told());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_sequence_of_events_keeps_to_the_table_and_its_deadlines(actions in vec(any_action(), 0..30)) {
        let mut world = World::new();
        for action in actions {
            let before = world.clone();
            world.act(action);
            world.check_transitions();
            world.check_timeout();
            if before.machine.has_ended() {
                prop_assert_eq!(world.told(), before.told());
                prop_assert_eq!(world.machine.poll_timeout(), None);
            }
        }
    }
}
