//! New files of the console must find their way into the binary: only files that are there already
//! are watched by themselves.

fn main() {
    println!("cargo:rerun-if-changed=../../console");
}
