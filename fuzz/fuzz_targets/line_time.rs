#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| logferry_fields::fuzzing::line_time(data));
