//! Work without the interpreter's lock that Ctrl-C ends: the calling thread handles Python's signals while another one works.

use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rayon::ThreadPool;

/// The time between two looks for signals.
const INTERVAL: Duration = Duration::from_millis(50);

/// The process that has started the threads of this module.
static PROCESS: OnceLock<u32> = OnceLock::new();

/// Refuses to wait for threads that a fork has not copied.
fn check_process() -> PyResult<()> {
    let here = std::process::id();
    let started = *PROCESS.get_or_init(|| here);
    if started == here {
        return Ok(());
    }
    Err(PyRuntimeError::new_err(format!(
        "this process was forked from process {started}, in which mert_toolkit was in use: its threads are not here, and a call \
         would never return. Start processes with the method \"spawn\": multiprocessing.set_start_method(\"spawn\"), or \
         multiprocessing_context=\"spawn\" of torch's DataLoader"
    )))
}

/// Runs `work`, which leaves nothing behind, and returns as soon as a signal raises an exception: then `work` goes on unseen until
/// it ends, and its result is dropped.
///
/// # Errors
/// The exception of a signal's handler, such as `KeyboardInterrupt`; `RuntimeError` in a fork of a process that made such calls.
pub(crate) fn abandonable<T: Send + 'static>(py: Python<'_>, work: impl FnOnce() -> T + Send + 'static) -> PyResult<T> {
    check_process()?;
    let (sender, receiver) = channel();
    thread::spawn(move || {
        // The receiver is gone if the caller was interrupted.
        let _ = sender.send(work());
    });
    result(py, receiver)
}

/// Runs `work`, which computes and waits for nothing, as [`abandonable`] does, on a thread of `pool`, or of all encoders without
/// one: no thread is started, and its parallel parts begin where they run.
///
/// # Errors
/// Those of [`abandonable`].
pub(crate) fn abandonable_in<T: Send + 'static>(
    py: Python<'_>,
    pool: Option<&ThreadPool>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    check_process()?;
    let (sender, receiver) = channel();
    let task = move || {
        // rayon ends the process when a task panics; here the sender is dropped, which the receiver notices.
        if let Ok(result) = panic::catch_unwind(panic::AssertUnwindSafe(work)) {
            let _ = sender.send(result);
        }
    };
    match pool {
        Some(pool) => pool.spawn(task),
        None => rayon::spawn(task),
    }
    result(py, receiver)
}

/// The value that comes by `receiver`.
fn result<T: Send>(py: Python<'_>, receiver: Receiver<T>) -> PyResult<T> {
    let receiver = Mutex::new(receiver);
    loop {
        match wait(py, &receiver) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => return Err(panicked()),
        }
    }
}

/// Runs `work`, and sets the flag that it gets when a signal raises an exception. It is waited for: `work` looks at the flag, and
/// leaves no part of an output behind.
///
/// # Errors
/// The exception of a signal's handler, such as `KeyboardInterrupt`.
pub(crate) fn stoppable<T: Send>(py: Python<'_>, work: impl FnOnce(&AtomicBool) -> T + Send) -> PyResult<T> {
    check_process()?;
    let stop = AtomicBool::new(false);
    let (sender, receiver) = channel();
    let receiver = Mutex::new(receiver);
    thread::scope(|scope| {
        let stop = &stop;
        let worker = scope.spawn(move || {
            let result = work(stop);
            let _ = sender.send(());
            result
        });
        let mut interrupted = Ok(());
        while let Err(RecvTimeoutError::Timeout) = wait(py, &receiver) {
            if interrupted.is_ok() {
                interrupted = py.check_signals();
                stop.store(interrupted.is_err(), Ordering::Relaxed);
            }
        }
        let result = py.detach(|| worker.join());
        interrupted?;
        result.map_err(|_| panicked())
    })
}

/// Waits for a value without the interpreter's lock, for the time between two looks for signals.
fn wait<T: Send>(py: Python<'_>, receiver: &Mutex<Receiver<T>>) -> Result<T, RecvTimeoutError> {
    // No other thread takes the lock: it makes the receiver one that `detach` accepts.
    py.detach(|| receiver.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(INTERVAL))
}

/// The payload of an unwinding that ends a conversion. It is no failure, and the panic hook prints nothing.
struct Stopped;

/// Ends [`unwindable`] from within, once `stop` is set. The outputs of a conversion are temporary until they are complete, and are
/// removed as the stack unwinds.
pub(crate) fn unwind_if(stop: &AtomicBool) {
    if stop.load(Ordering::Relaxed) {
        panic::resume_unwind(Box::new(Stopped));
    }
}

/// Runs work that [`unwind_if`] may end; then the result is `None`.
pub(crate) fn unwindable<T>(work: impl FnOnce() -> T) -> Option<T> {
    match panic::catch_unwind(panic::AssertUnwindSafe(work)) {
        Ok(result) => Some(result),
        Err(payload) if payload.is::<Stopped>() => None,
        Err(payload) => panic::resume_unwind(payload),
    }
}

fn panicked() -> PyErr {
    PyRuntimeError::new_err("mert_toolkit ended with an internal error; its message is on standard error")
}
