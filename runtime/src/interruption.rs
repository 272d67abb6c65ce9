//! Lets a piece of work end itself cleanly on Ctrl-C, SIGTERM or SIGHUP.
//!
//! Outside of such work the three signals do what they always do. While a guard lives, the first
//! one raises a flag that the work looks at; another one a while later ends the process at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

/// How long further signals count as the first one: `timeout`, shells and schedulers send one to the process and
/// then the same to its group, which comes twice within microseconds. A person who insists takes longer.
const ONE_SIGNAL: Duration = Duration::from_millis(300);

/// Lets a write beyond the limit of file sizes fail, like one to a full disk, where the system would end the
/// process without a word.
pub fn outlive_file_limits() {
    // A refusal leaves the usual effect in place.
    let _ = flag::register(libc::SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

struct Switches {
    /// Nothing is guarded: signals have their usual effect.
    idle: Arc<AtomicBool>,
    /// A signal came while something was guarded.
    raised: Arc<AtomicBool>,
    guards: AtomicUsize,
}

fn switches() -> &'static Switches {
    static SWITCHES: OnceLock<Switches> = OnceLock::new();
    SWITCHES.get_or_init(|| {
        let switches = Switches {
            idle: Arc::new(AtomicBool::new(true)),
            raised: Arc::new(AtomicBool::new(false)),
            guards: AtomicUsize::new(0),
        };
        let insisted_on = Arc::new(AtomicBool::new(false));
        for signal in SIGNALS {
            // Order matters: the actions run in the order of registration. A refusal by the system
            // leaves the usual effect in place, which is safe if less tidy.
            let _ = flag::register_conditional_default(signal, Arc::clone(&switches.idle));
            let _ = flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&insisted_on));
            let _ = flag::register(signal, Arc::clone(&switches.raised));
        }
        if let Ok(mut signals) = Signals::new(SIGNALS) {
            thread::spawn(move || {
                for _ in signals.forever().take(1) {
                    thread::sleep(ONE_SIGNAL);
                    insisted_on.store(true, Ordering::SeqCst);
                }
            });
        }
        switches
    })
}

/// Holds off the usual effect of the signals while it lives.
#[derive(Debug)]
#[must_use]
pub struct Interruption(());

impl Interruption {
    /// Starts guarding. Guards nest.
    pub fn guard() -> Self {
        let switches = switches();
        switches.guards.fetch_add(1, Ordering::SeqCst);
        switches.idle.store(false, Ordering::SeqCst);
        Self(())
    }

    /// Whether the guarded work should end now.
    pub fn raised(&self) -> bool {
        switches().raised.load(Ordering::SeqCst)
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        let switches = switches();
        // Work that was interrupted ends the process, which is let say so.
        if switches.guards.fetch_sub(1, Ordering::SeqCst) == 1 && !switches.raised.load(Ordering::SeqCst) {
            switches.idle.store(true, Ordering::SeqCst);
        }
    }
}
