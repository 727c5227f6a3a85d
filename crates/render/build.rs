//! Says loudly when the H.264 encoder is about to be built without its assembly.
//!
//! `openh264-sys2` runs `nasm` (or what the variable `NASM` names) and goes on without a word when
//! that fails; the encoder is then two and a half times slower. What was really linked is found out
//! at run time by `encoder::simd`; this is the warning while it can still be mended.

use std::env;
use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=NASM");
    println!("cargo::rerun-if-env-changed=PATH");
    println!("cargo::rerun-if-env-changed=OPENH264_NO_ASM");

    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    if arch != "x86_64" && arch != "x86" {
        return; // the other architectures' assembly is built by the C compiler
    }
    if env::var_os("OPENH264_NO_ASM").is_some() {
        warn("OPENH264_NO_ASM is set");
        return;
    }
    let nasm = env::var_os("NASM").unwrap_or_else(|| "nasm".into());
    let ran = Command::new(&nasm)
        .arg("-v")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !ran.is_ok_and(|status| status.success()) {
        warn("nasm cannot be run");
    }
}

fn warn(why: &str) {
    println!(
        "cargo::warning=the H.264 encoder is built WITHOUT SIMD ({why}): encoding takes 2.5 times \
         the CPU. Mend it: install nasm (Debian: apt install nasm), unset OPENH264_NO_ASM, then \
         `cargo clean -p openh264-sys2`"
    );
}
