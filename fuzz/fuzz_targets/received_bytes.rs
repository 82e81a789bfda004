#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| logferry_collector::fuzzing::received_bytes(data));
