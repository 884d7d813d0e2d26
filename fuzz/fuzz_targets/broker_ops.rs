#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hopmq_tests::fuzz::broker_ops(data));
