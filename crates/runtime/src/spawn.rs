//! Starting a child: the little that happens between fork and exec, and therefore our only unsafe
//! code.
#![expect(
    unsafe_code,
    reason = "pre_exec is the only way into the child before its program starts"
)]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Resource, Rlimit};
use tokio::process::{Child, Command};

/// What a child is started with.
pub(crate) struct Plan<'a> {
    pub command: &'a [String],
    /// The whole environment: nothing of ours is handed on.
    pub env: &'a BTreeMap<String, String>,
    pub dir: &'a Path,
    pub open_files: u64,
    pub nice: i32,
}

/// Starts a child in a session and process group of its own, its stdin closed, its stdout and
/// stderr piped.
pub(crate) fn spawn(plan: &Plan<'_>) -> io::Result<Child> {
    let [program, args @ ..] = plan.command else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the command is empty",
        ));
    };
    let program = crate::find_program(program).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no program {program:?} in {}", crate::PROGRAM_PATH),
        )
    })?;
    let open_files = Rlimit {
        current: Some(plan.open_files),
        maximum: Some(plan.open_files),
    };
    let nice = plan.nice;

    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .envs(plan.env)
        .current_dir(plan.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe calls are
    // allowed. It makes plain system calls through rustix, which neither allocate nor lock.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            rustix::process::setrlimit(Resource::Core, NO_CORE)?;
            lower_limit(Resource::Nofile, open_files)?;
            if nice != 0 {
                rustix::process::nice(nice)?;
            }
            // An app never gains rights through a setuid program.
            rustix::thread::set_no_new_privs(true)?;
            Ok(())
        });
    }
    command.spawn()
}

/// A crashing app must not fill the disk.
const NO_CORE: Rlimit = Rlimit {
    current: Some(0),
    maximum: Some(0),
};

/// Sets a limit, or the hard limit we have ourselves where that is lower.
fn lower_limit(resource: Resource, wanted: Rlimit) -> io::Result<()> {
    let most = rustix::process::getrlimit(resource).maximum;
    let value = match (wanted.current, most) {
        (Some(wanted), Some(most)) => Some(wanted.min(most)),
        (wanted, most) => wanted.or(most),
    };
    rustix::process::setrlimit(
        resource,
        Rlimit {
            current: value,
            maximum: value,
        },
    )?;
    Ok(())
}
