//! Objects that are waited for no longer than a deadline.
//!
//! A share that does not answer keeps whoever asks it in the kernel, where no signal reaches. So another
//! thread asks, and is left behind where it is late.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::object::{Creation, ObjectError};
use super::objects::Objects;
use super::place::CachePlace;

type Order = Box<dyn FnOnce(Result<&Objects, &ObjectError>) + Send>;

/// The objects of a place, asked by a thread of their own.
#[derive(Debug)]
pub(super) struct PatientObjects {
    orders: Sender<Order>,
    deadline: Instant,
    patience: Duration,
}

impl PatientObjects {
    /// Nothing is asked of the place yet.
    pub(super) fn of(place: &CachePlace, patience: Duration) -> Result<Self, ObjectError> {
        Objects::require_built(place)?;
        let (orders, received) = channel::<Order>();
        let place = place.clone();
        let work = move || {
            let objects = Objects::of(&place, patience);
            for order in received {
                order(objects.as_ref());
            }
        };
        let spawned = thread::Builder::new().name("shared cache".to_owned()).spawn(work);
        spawned.map_err(|error| ObjectError::Failed { reason: format!("no thread: {error}") })?;
        Ok(Self { orders, deadline: Instant::now() + patience, patience })
    }

    /// From now on counts what follows.
    pub(super) fn begin(&mut self) {
        self.deadline = Instant::now() + self.patience;
    }

    pub(super) fn list(&self, prefix: &str, most: usize) -> Result<Vec<String>, ObjectError> {
        let prefix = prefix.to_owned();
        self.ask(move |objects| objects.list(&prefix, most))
    }

    pub(super) fn get(&self, name: &str, most_bytes: u64) -> Result<Option<Vec<u8>>, ObjectError> {
        let name = name.to_owned();
        self.ask(move |objects| objects.get(&name, most_bytes))
    }

    pub(super) fn create(&self, name: &str, bytes: Vec<u8>) -> Result<Creation, ObjectError> {
        let name = name.to_owned();
        self.ask(move |objects| objects.create(&name, &bytes))
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Objects) -> Result<T, ObjectError> + Send + 'static,
    ) -> Result<T, ObjectError> {
        let (answer, answered): (_, Receiver<Result<T, ObjectError>>) = channel();
        let order: Order = Box::new(move |objects| {
            // Nobody listens any more where it was too late.
            let _ = answer.send(match objects {
                Ok(objects) => question(objects),
                Err(error) => Err(ObjectError::Failed { reason: error.to_string() }),
            });
        });
        let gone = || ObjectError::Failed { reason: "its thread ended".to_owned() };
        self.orders.send(order).map_err(|_| gone())?;
        match answered.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(ObjectError::Late { waited: self.patience }),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_answer_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let place = CachePlace::Folder(folder.path().to_owned());
        let mut objects = PatientObjects::of(&place, Duration::from_millis(50)).unwrap();
        assert_eq!(objects.list("", 9).unwrap(), Vec::<String>::new());
        objects.begin();
        let late = objects.ask(|_| {
            thread::sleep(Duration::from_secs(600));
            Ok(())
        });
        assert!(matches!(late, Err(ObjectError::Late { .. })), "{late:?}");
    }
}
