#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| logferry_time_windows::fuzzing::line_time(data));
