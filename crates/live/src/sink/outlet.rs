//! The guard through which all messages pass: whatever ends a session, no note is left sounding.

use mert_events::render::{NoteKeeper, panic};

use crate::Result;
use crate::output::{Cause, TimedMidi};

/// The sinks of all messages, which end every note that they started.
pub trait MidiSink: Send {
    /// Sends a message at once.
    ///
    /// # Errors
    /// If it cannot be sent or written.
    fn send(&mut self, message: &TimedMidi) -> Result<()>;

    /// The end of the session.
    ///
    /// # Errors
    /// If the output cannot be completed.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Several sinks, and the notes that sound in them. Dropped without [`Outlet::close`], by an error or a panic of the thread, it
/// ends all notes and silences all channels.
pub struct Outlet {
    sinks: Vec<Box<dyn MidiSink>>,
    keeper: NoteKeeper,
    last: Option<TimedMidi>,
    is_closed: bool,
}

impl Outlet {
    /// The outlet to `sinks`.
    pub fn new(sinks: Vec<Box<dyn MidiSink>>) -> Self {
        Outlet { sinks, keeper: NoteKeeper::new(), last: None, is_closed: false }
    }

    /// Sends a message to all sinks, even if one fails.
    ///
    /// # Errors
    /// The first error of a sink.
    pub fn send(&mut self, message: &TimedMidi) -> Result<()> {
        let [status, key, velocity] = message.bytes;
        match status & 0xF0 {
            0x90 if velocity > 0 => drop(self.keeper.start(status & 15, key, velocity)),
            0x80 | 0x90 => drop(self.keeper.end(status & 15, key)),
            _ => {}
        }
        self.last = Some(TimedMidi { answer: None, answers_onset: None, ..message.clone() });
        self.each_sink(|sink| sink.send(message))
    }

    /// Ends the notes that still sound, and completes the outputs.
    ///
    /// # Errors
    /// The first error of a sink.
    pub fn close(mut self) -> Result<()> {
        self.is_closed = true;
        let ended = self.end_all(false);
        let finished = self.each_sink(|sink| sink.finish());
        ended.and(finished)
    }

    fn end_all(&mut self, with_panic: bool) -> Result<()> {
        let mut messages = self.keeper.end_all();
        if with_panic {
            messages.extend(panic());
        }
        let (sample, time) = self.last.as_ref().map_or((0, 0.0), |last| (last.sample, last.time));
        let cause = if with_panic { Cause::Panic } else { Cause::Release };
        let mut result = Ok(());
        for bytes in messages {
            let message = TimedMidi { sample, time, bytes, cause, answer: None, answers_onset: None };
            // A sink that fails does not keep the others from their note-offs.
            result = result.and(self.each_sink(|sink| sink.send(&message)));
        }
        result
    }

    fn each_sink(&mut self, mut action: impl FnMut(&mut dyn MidiSink) -> Result<()>) -> Result<()> {
        let mut result = Ok(());
        for sink in &mut self.sinks {
            let one = action(sink.as_mut());
            result = result.and(one);
        }
        result
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        if !self.is_closed {
            // There is nowhere to report an error of a sink that has failed already.
            let _ = self.end_all(true);
            let _ = self.each_sink(|sink| sink.finish());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::LiveError;

    #[derive(Clone, Default)]
    struct Recording(Arc<Mutex<Vec<[u8; 3]>>>);

    impl MidiSink for Recording {
        fn send(&mut self, message: &TimedMidi) -> Result<()> {
            self.0.lock().unwrap().push(message.bytes);
            Ok(())
        }
    }

    struct Broken;

    impl MidiSink for Broken {
        fn send(&mut self, _: &TimedMidi) -> Result<()> {
            Err(LiveError::Thread { name: "a sink" })
        }
    }

    fn message(bytes: [u8; 3]) -> TimedMidi {
        TimedMidi { sample: 5, time: 0.5, bytes, cause: Cause::Start, answer: None, answers_onset: None }
    }

    fn recorded(end: impl FnOnce(Outlet)) -> Vec<[u8; 3]> {
        let recording = Recording::default();
        // A sink that fails does not keep the others from their note-offs.
        let mut outlet = Outlet::new(vec![Box::new(Broken), Box::new(recording.clone())]);
        assert!(outlet.send(&message([0x90, 60, 100])).is_err());
        assert!(outlet.send(&message([0x91, 61, 100])).is_err());
        assert!(outlet.send(&message([0x91, 61, 0])).is_err());
        end(outlet);
        let messages = recording.0.lock().unwrap();
        messages[3..].to_vec()
    }

    #[test]
    fn closing_ends_what_sounds() {
        assert_eq!(recorded(|outlet| assert!(outlet.close().is_err())), [[0x80, 60, 0]]);
    }

    #[test]
    fn dropping_ends_what_sounds_and_silences_everything() {
        let messages = recorded(drop);
        assert_eq!((messages.len(), messages[0]), (33, [0x80, 60, 0]));
        assert_eq!((messages[1], messages[32]), ([0xB0, 123, 0], [0xBF, 120, 0]));
    }

    #[test]
    fn a_panic_of_the_thread_ends_what_sounds() {
        let messages = recorded(|outlet| {
            let thread = std::thread::spawn(move || {
                let _outlet = outlet;
                panic!("a defect");
            });
            assert!(thread.join().is_err());
        });
        assert_eq!((messages.len(), messages[0]), (33, [0x80, 60, 0]));
    }
}
