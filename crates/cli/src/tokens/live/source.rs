//! The sound of a session: blocks of a file, of standard input or of a sound card, in sample time or by the clock.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use mert_audio::{AudioFile, RawPcm, Source as _};
use mert_cli::embedding::interrupt::STOP;
#[cfg(feature = "live")]
use mert_live::{InputDevice, RingReader};
use mert_live::{LiveError, RingWriter, Session, Summary, ring};
use mert_table::printable_path;

use super::args::LiveArgs;
use super::commands;

/// The samples of a block of a file that is played at its own pace: as long as those of a sound card.
const BLOCK: usize = 256;

/// The seconds of sound that wait at most.
const RING_SECONDS: f64 = 2.0;

type Blocks = Receiver<Result<Vec<f32>, LiveError>>;

/// The source of the sound.
pub(super) enum Source {
    /// A file, as fast as possible or paced.
    File { file: Box<AudioFile>, name: String, rate: u32, is_paced: bool },
    /// Samples on standard input, in sample time or as they arrive.
    Stdin { rate: u32, is_live: bool },
    /// A sound card.
    #[cfg(feature = "live")]
    Device(InputDevice, RingReader),
}

impl Source {
    /// Opens the source that the options name.
    pub(super) fn open(args: &LiveArgs) -> anyhow::Result<Self> {
        let is_stdin = args.input.as_deref() == Some(Path::new("-"));
        match (is_stdin, args.input_rate) {
            (true, None) => bail!("samples on standard input do not state their rate: give --input-rate"),
            (false, Some(_)) => {
                bail!("--input-rate is for samples on standard input (-): other sources state their own rate")
            }
            (true, Some(rate)) => {
                // The check of the rate, before the model is run.
                RawPcm::new(std::io::empty(), rate)?;
                return Ok(Source::Stdin { rate, is_live: args.realtime });
            }
            (false, None) => {}
        }
        let Some(path) = &args.input else { return device(args) };
        ensure!(!path.is_dir(), "{} is a folder: name a file", printable_path(path));
        let file = AudioFile::open(path, args.read.options()?)?;
        let rate = file.info().sample_rate;
        Ok(Source::File { file: Box::new(file), name: printable_path(path), rate, is_paced: args.realtime })
    }

    /// The samples per second.
    pub(super) fn rate(&self) -> u32 {
        match self {
            Source::File { rate, .. } | Source::Stdin { rate, .. } => *rate,
            #[cfg(feature = "live")]
            Source::Device(device, _) => device.rate,
        }
    }

    /// True if the clock counts, rather than the time of the samples.
    pub(super) fn is_live(&self) -> bool {
        match self {
            Source::File { is_paced, .. } => *is_paced,
            Source::Stdin { is_live, .. } => *is_live,
            #[cfg(feature = "live")]
            Source::Device(..) => true,
        }
    }

    /// A sentence for the player.
    pub(super) fn describe(&self) -> String {
        let name = match self {
            Source::File { name, .. } => name.clone(),
            Source::Stdin { .. } => "standard input".to_string(),
            #[cfg(feature = "live")]
            Source::Device(device, _) => device.name.clone(),
        };
        let pace = if self.is_live() { "in real time" } else { "in the time of its samples, as fast as possible" };
        format!("listening to {name}, {} Hz, {pace}", self.rate())
    }

    /// Runs a session on the sound.
    pub(super) fn play(self, session: Session<'_>) -> anyhow::Result<Summary> {
        let (rate, is_live) = (self.rate(), self.is_live());
        let takes_commands = !matches!(self, Source::Stdin { .. });
        match self {
            Source::File { mut file, is_paced: false, .. } => {
                let next = || Ok(file.next_block()?.map(<[f32]>::to_vec));
                Ok(session.run(next)?)
            }
            Source::File { file, .. } => {
                let (writer, reader) = ring(rate, RING_SECONDS);
                let (failed, errors) = sync_channel(1);
                let feeder = std::thread::spawn(move || {
                    if let Err(error) = pace(*file, rate, writer) {
                        let _ = failed.send(error);
                    }
                });
                let summary = session.run_by_clock(reader, &commands::listen(takes_commands))?;
                ended(feeder, &errors)?;
                Ok(summary)
            }
            Source::Stdin { .. } if !is_live => {
                let blocks = stdin_blocks(rate);
                Ok(session.run(|| next_block(&blocks))?)
            }
            Source::Stdin { .. } => {
                let blocks = stdin_blocks(rate);
                let (mut writer, reader) = ring(rate, RING_SECONDS);
                let (failed, errors) = sync_channel(1);
                let feeder = std::thread::spawn(move || {
                    let fed = feed(&blocks, &mut writer);
                    if let Err(error) = fed {
                        let _ = failed.send(error);
                    }
                });
                let summary = session.run_by_clock(reader, &commands::listen(takes_commands))?;
                ended(feeder, &errors)?;
                Ok(summary)
            }
            #[cfg(feature = "live")]
            Source::Device(device, reader) => {
                let summary = session.run_by_clock(reader, &commands::listen(takes_commands))?;
                device.stop();
                device.errors().iter().for_each(|error| mert_cli::terminal::say(&format!("{}: {error}", device.name)));
                Ok(summary)
            }
        }
    }
}

#[cfg(feature = "live")]
fn device(args: &LiveArgs) -> anyhow::Result<Source> {
    let (device, reader) = InputDevice::open(args.sound_card.as_deref())?;
    Ok(Source::Device(device, reader))
}

#[cfg(not(feature = "live"))]
fn device(_: &LiveArgs) -> anyhow::Result<Source> {
    bail!(
        "name the sound: a file, or - with --input-rate. This build has no sound cards; build it with `cargo build --release -p \
         mert-cli --features live`"
    )
}

/// Plays a file at its own pace into a ring.
fn pace(mut file: AudioFile, rate: u32, mut writer: RingWriter) -> Result<(), LiveError> {
    let (start, mut played) = (Instant::now(), 0u64);
    while let Some(block) = file.next_block()? {
        for part in block.chunks(BLOCK) {
            played += part.len() as u64;
            // A block is there once its last sample has sounded.
            let due = start + Duration::from_secs_f64(played as f64 / f64::from(rate));
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if STOP.load(Ordering::Relaxed) {
                return Ok(());
            }
            writer.push(part, 1);
        }
    }
    Ok(())
}

/// Moves blocks into a ring as they arrive; where it is full, the sender waits.
fn feed(blocks: &Blocks, writer: &mut RingWriter) -> Result<(), LiveError> {
    while let Some(block) = next_block(blocks)? {
        if STOP.load(Ordering::Relaxed) {
            break;
        }
        for part in block.chunks(BLOCK) {
            while writer.room() < part.len() && !STOP.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
            writer.push(part, 1);
        }
    }
    Ok(())
}

/// Standard input on a thread of its own, so that a signal is seen while it has no data.
fn stdin_blocks(rate: u32) -> Blocks {
    let (send, receiver) = sync_channel(4);
    std::thread::spawn(move || {
        let read = || -> Result<(), LiveError> {
            let mut source = RawPcm::new(std::io::stdin(), rate)?;
            while let Some(block) = source.next_block()? {
                if send.send(Ok(block.to_vec())).is_err() {
                    break;
                }
            }
            Ok(())
        };
        if let Err(error) = read() {
            let _ = send.send(Err(error));
        }
    });
    receiver
}

/// The next block; nothing at the end of the input, or after a signal.
fn next_block(blocks: &Blocks) -> Result<Option<Vec<f32>>, LiveError> {
    loop {
        match blocks.recv_timeout(Duration::from_millis(50)) {
            Ok(block) => return block.map(Some),
            // An empty block lets the session see the signal.
            Err(RecvTimeoutError::Timeout) if STOP.load(Ordering::Relaxed) => return Ok(Some(Vec::new())),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        }
    }
}

/// The end of a thread that fed a ring, with its error.
fn ended(feeder: std::thread::JoinHandle<()>, errors: &Receiver<LiveError>) -> anyhow::Result<()> {
    // After a quit the thread may still wait for its sound, and ends with the process.
    if feeder.is_finished() && feeder.join().is_err() {
        return Err(LiveError::Thread { name: "the source" }.into());
    }
    errors.try_recv().map_or(Ok(()), |error| Err(error.into()))
}
