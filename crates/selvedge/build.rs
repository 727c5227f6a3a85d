//! The manifests of the demo apps are part of the program: build again when one comes or changes.

fn main() {
    println!("cargo::rerun-if-changed=../../apps");
    println!("cargo::rerun-if-changed=build.rs");
}
