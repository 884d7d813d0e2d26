//! What a client can see of a broker, written once and run against RabbitMQ and the embedded broker, so that the two
//! are held to one answer. Where they differ, RabbitMQ is right.
//!
//! They name no runtime: what they ask of one is in `runtime.rs`, and their [`Server`] knows which one it is.
//!
//! One file for each noun, one function for each scenario. [`scenarios!`](crate::scenarios!) makes tests of them, and
//! [`rabbitmq_scenarios!`](crate::rabbitmq_scenarios!) of those that only RabbitMQ can play so far.

#![allow(missing_docs, clippy::missing_errors_doc)] // a scenario's name says what it is
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod expect;
mod line;
mod raw;
mod runtime;
mod server;

pub use expect::{
    Fate, after_polls, closes_channel, closes_connection, drain, drop_after, drop_when_answered, eventually,
    fate, publish_each, ready, routed,
};
pub use line::{Leg, Line, NOWHERE};
pub use raw::{Frame, Raw};
pub use runtime::{
    Boxed, Embedded, Late, On, Runtime, Task, current_thread, multi_thread, run, sleep, timeout, yield_now,
};
pub use server::{Server, Version, rabbitmq_uri, rabbitmq4_uri};

pub mod alarm;
pub mod arguments;
pub mod backpressure;
pub mod bodies;
pub mod cancel_safety;
pub mod channels;
pub mod confirms;
pub mod connections;
pub mod consumers;
pub mod dead_letters;
pub mod dropped;
pub mod exchanges;
pub mod floats;
pub mod get;
pub mod handlers;
pub mod handshakes;
pub mod json;
pub mod limits;
pub mod locks;
pub mod no_wait;
pub mod priorities;
pub mod properties;
pub mod publish;
pub mod qos;
pub mod queues;
pub mod quorum;
pub mod recovery;
pub mod reply_to;
pub mod returns;
pub mod routing;
pub mod rpc;
pub mod settle;
pub mod streams;
pub mod texts;
pub mod transactions;
pub mod versions;
pub mod violations;

/// Hands the list of all scenarios to a macro, behind what else it is to be given.
#[macro_export]
macro_rules! with_scenarios {
    ($macro:path, $($given:tt)*) => {
        $macro! { $($given)*
        backpressure: a_full_outbox_makes_publishers_wait, a_slow_consumer_gets_everything_in_order,
            as_many_unconfirmed_as_allowed, two_slow_consumers_do_not_block_each_other;
        bodies: of_every_size, in_small_frames, of_many_channels_at_once, that_share_no_bytes;
        cancel_safety: close_at_every_poll, confirms_at_every_poll, events_at_every_poll, every_operation_at_every_poll, next_at_every_poll;
        channels: a_closed_channel_says_why, an_error_ends_one_channel_only, many_at_once, numbers_are_used_again,
            too_many, used_from_many_tasks;
        confirms: of_thousands_all_resolve, of_many_tasks, dropped_ones_disturb_nobody, end_with_their_channel,
            select_twice_is_fine, without_confirms_nothing_is_lost, wait_for_all, wait_for_all_counts_what_came_back,
            wait_for_all_ends_with_the_channel, at_most_so_many_of_a_publisher;
        connections: missing_vhost, server_says_who_it_is, the_first_cause_ends_everything, wrong_password,
            wrong_user, closing_ends_everything, closing_sends_what_was_published, dropping_all_handles_closes,
            abort_ends_everything, events_tell_the_end, update_secret;
        consumers: buffered, cancel_gives_back_what_was_not_taken, cancelled_by_tag, duplicate_tag, end_when_the_queue_is_deleted,
            exclusive,
            exclusive_refused_while_others_consume, fair_dispatch, in_order, missing_queue, no_ack, of_one_channel,
            prefetch, trap_32_prefetch_is_for_new_consumers_only, round_robin, tags, end_with_their_channel,
            trap_30_cancel_of_nothing;
        dropped: calls_in_flight, connect_at_every_poll, consume_at_every_poll, consumers,
            deliveries_wait_for_their_channel, get_at_every_poll, open_channel_at_every_poll, publishes;
        exchanges: auto_delete, bind_needs_both_ends, declare_again, default_is_protected, delete_if_unused,
            delete_of_a_handle_if_unused,
            delete_missing, inequivalent, internal, passive_missing, predeclared, reserved_names, delete_unbinds,
            unbind_what_is_not_bound;
        get: counts, empty, missing_queue, no_ack, redelivered, shares_tags_with_consumers, of_a_handle_without_ack;
        handlers: at_most_so_many_at_once, dropped_ones_leave_their_messages, end_with_their_channel,
            of_failures, panics_are_passed_on, settle_what_they_did, stop_when_cancelled;
        handshakes: trap_3_without_the_capability_a_refused_login_just_ends, trap_6_a_client_may_only_lower_frame_max,
            trap_9_a_client_may_only_lower_channel_max;
        json: round_trip, of_calls, content_type_is_checked;
        locks: trap_40_a_durable_exclusive_queue_goes_with_its_connection,
            trap_40_an_exclusive_queue_is_locked_while_its_old_connection_dies;
        no_wait: of_exchanges, of_queues, refused;
        properties: all_fourteen, bytes_that_are_no_text, every_field_type, headers_deep, headers_too_large, none,
            expiration_must_be_a_number, trace_context, user_id_must_be_own;
        publish: cc_and_bcc, in_order, missing_exchange_ends_the_channel_only, to_exclusive_queue_of_another,
            trap_33_immediate_ends_the_connection, unroutable_is_confirmed;
        qos: channel_prefetch, trap_32_global_is_for_the_channel, trap_32_no_local_is_ignored, trap_32_size_is_not_implemented;
        queues: auto_delete, auto_delete_waits_for_a_first_consumer, count, delete_if_empty, delete_if_unused,
            delete_missing, delete_unbinds, delete_with_unacked, exclusive, exclusive_goes_with_its_connection,
            inequivalent, inequivalent_arguments, last_declared, last_declared_in_one_go, names, passive_missing, purge,
            reserved_names, server_named, trap_31_line_ends_are_stripped;
        recovery: publishes_outlive_a_cut, a_consumer_resumes, a_consumer_that_does_not_come_back_says_why, a_server_named_queue_is_renamed, events_and_states, close_wins,
            dropping_every_handle_ends_it, gives_up_with_the_first_cause, off, a_server_that_is_down_at_first,
            one_of_two_endpoints, policies, calls_that_are_held_have_their_deadline, rpc;
        reply_to: trap_38_round_trip, trap_38_addresses_differ, trap_38_needs_no_ack, trap_38_one_of_a_channel,
            trap_38_arguments_mean_nothing,
            trap_38_publish_needs_the_consumer, trap_38_passive_declare, trap_38_a_mandatory_reply_comes_back;
        rpc: trap_38_each_gets_its_own_reply, one_that_is_not_polled_keeps_no_other_waiting, unroutable_fails_at_once,
            late_replies_are_dropped, the_end_of_the_channel_fails_every_call, dropped_at_every_poll, failures_by_policy,
            replies_that_cannot_be_sent, properties_of_replies, at_most_so_many_calls,
            a_cancelled_worker_answers_first,
            a_dropped_worker_gives_its_requests_back;
        returns: carry_the_message, identical_messages, mixed_with_routable, trap_26_ambiguous_only_where_identical;
        routing: alternate_exchange, default_exchange, direct, each_queue_once, exchange_cycle,
            exchange_to_exchange, fanout, headers_all, headers_any, headers_with_x, topic, unknown_match;
        settle: ack, ack_all, cancel_keeps_unacked, channel_close_requeues_in_order, connection_loss_requeues,
            nack_all, recover, recover_ok_comes_before_what_is_delivered_again, reject, requeue_in_position;
        versions: mechanisms, message_size, protocol_header, unknown_exchange_type;
        violations: ack_of_another_channel, ack_twice, ack_zero, ack_zero_multiple_of_nothing, bad_frame_end,
            body_without_header, trap_33_flow_is_not_implemented, header_without_method,
            heartbeat_on_a_channel, trap_33_immediate, method_amid_content, method_on_unopened_channel,
            no_connection_before_login, no_wait, open_twice, passive_after_close,
            trap_8_a_frame_larger_than_agreed, trap_13_nothing_is_heard_after_a_close,
            trap_33_recover_without_requeue, return_before_ack, silence_after_channel_close, unknown_tag;
        }
    };
}

/// The same for what the embedded broker cannot do yet.
#[macro_export]
macro_rules! with_rabbitmq_scenarios {
    ($macro:path, $($given:tt)*) => {
        $macro! { $($given)*
        arguments: delayed_is_an_exchange_of_a_plugin, of_quorum_queues, of_queues, of_streams, types_of_queues;
        dead_letters: by_expiry, by_length, by_rejection, with_a_key_of_their_own;
        floats: must_be_finite;
        limits: bytes, drop_head, queue_expiry, reject_publish, reject_publish_dead_letters;
        priorities: of_consumers, of_messages, single_active_consumer;
        quorum: at_least_once, delivery_limit, recover;
        transactions: commit, rollback, acknowledgements_are_part_of_it, trap_37_pipelined, trap_28_not_with_confirms,
            dropping_rolls_back, at_every_poll;
        texts: trap_25_of_a_method_are_utf_8;
        streams: every_offset, filters, need_a_prefetch, retention;
        }
    };
}

macro_rules! boxed {
    ($module:ident $($noun:ident: $($name:ident),*;)*) => {
        /// Every scenario as a plain function, so that it is compiled here, once, and not in every test program.
        pub mod $module {
            use std::future::Future;
            use std::pin::Pin;

            use super::Server;

            pub type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;
            pub type Scenario = for<'a> fn(&'a Server) -> Running<'a>;

            $(pub mod $noun {
                use super::{Running, Server};

                $(pub fn $name(server: &Server) -> Running<'_> {
                    Box::pin(crate::scenarios::$noun::$name(server))
                })*
            })*
        }
    };
}

with_scenarios! { boxed, boxed }
with_rabbitmq_scenarios! { boxed, boxed_rabbitmq }

macro_rules! named {
    ($name:ident $boxed:ident $($noun:ident: $($scenario:ident),*;)*) => {
        /// Every scenario by its name, for who does not make a test of each.
        pub const $name: &[(&str, boxed::Scenario)] =
            &[$($((concat!(stringify!($noun), "::", stringify!($scenario)), $boxed::$noun::$scenario)),*),*];
    };
}

with_scenarios! { named, SCENARIOS boxed }
with_rabbitmq_scenarios! { named, RABBITMQ_SCENARIOS boxed_rabbitmq }

/// Those of `scenarios` that write whole frames only, each right in itself.
pub fn well_formed(scenarios: &[(&str, boxed::Scenario)]) -> impl Iterator<Item = boxed::Scenario> {
    let broken = ["texts::", "versions::", "violations::"];
    scenarios
        .iter()
        .filter(move |(name, _)| !broken.iter().any(|it| name.starts_with(it)))
        .map(|(_, run)| *run)
}

/// One `#[test]` for each scenario, which is handed to `$run`.
#[macro_export]
macro_rules! scenarios {
    ($run:path) => {
        $crate::with_scenarios! { $crate::scenario_tests, boxed $run => }
    };
}

/// One `#[test]` for each scenario that only RabbitMQ can play, which is handed to `$run`.
#[macro_export]
macro_rules! rabbitmq_scenarios {
    ($run:path) => {
        $crate::with_rabbitmq_scenarios! { $crate::scenario_tests, boxed_rabbitmq $run => }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! scenario_tests {
    ($boxed:ident $run:path => $($noun:ident: $($name:ident),*;)*) => {
        $(mod $noun {
            $(#[test]
            fn $name() {
                $run($crate::scenarios::$boxed::$noun::$name);
            })*
        })*
        #[test]
        fn every_scenario_is_listed() {
            $crate::scenarios::assert_listed(&[$((stringify!($noun), &[$(stringify!($name)),*]),)*]);
        }
    };
}

/// Compares the list in [`scenarios!`](crate::scenarios!) with the functions in the files: what is not listed does not run.
pub fn assert_listed(listed: &[(&str, &[&str])]) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/scenarios");
    for (noun, names) in listed {
        let source = std::fs::read_to_string(folder.join(noun).with_extension("rs")).unwrap();
        let functions = source.lines().filter_map(|line| line.strip_prefix("pub async fn "));
        for function in functions.filter_map(|line| line.split_once("(server: &Server)")) {
            assert!(names.contains(&function.0), "{noun}: {} is not listed", function.0);
        }
    }
}
