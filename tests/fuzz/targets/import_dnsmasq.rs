#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lanboot_fuzz::properties::import_dnsmasq::check(data));
