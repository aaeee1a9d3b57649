//! Threads that the system runs before all others.

use std::io;

/// Gives the calling thread a real-time priority, 1 to 99: it runs before every thread with less of it or none, until it
/// waits for something.
///
/// # Errors
/// What the system says where it does not allow that (Linux: without `CAP_SYS_NICE`), or cannot do it.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the system is asked directly")]
pub fn prioritise(priority: u8) -> io::Result<()> {
    // SAFETY: integers may be zero; 0 is the calling thread, and the parameters live until the call returns.
    let result = unsafe {
        let mut parameters: libc::sched_param = std::mem::zeroed();
        parameters.sched_priority = priority.into();
        libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters)
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives the calling thread a real-time priority.
///
/// # Errors
/// Always: how to ask this system for it is not known here.
#[cfg(not(target_os = "linux"))]
pub fn prioritise(_priority: u8) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
