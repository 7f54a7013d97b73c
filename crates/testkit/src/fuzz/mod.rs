//! Fuzzing of parsers on stable Rust: files of the fixtures are mutated at random, and a parser must refuse or read them
//! without a panic, without much memory and in time.
//!
//! In a test run the cases are few and always the same. `MERT_FUZZ_SECONDS` runs new ones for that long, and
//! `MERT_FUZZ_INPUT` runs one saved input again. proptest reduces an input that fails to the fewest mutations.

mod mutation;
mod watchdog;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

pub use self::mutation::Mutation;
use self::watchdog::Watchdog;

/// Cases of a run that is not limited by time.
const CASES: u32 = 250;

/// Cases between two looks at the clock.
const BATCH: u32 = 200;

/// Mutations of one input at most.
const MUTATIONS: usize = 6;

/// An input of the corpus, valid or not.
#[derive(Debug, Clone)]
pub struct Seed {
    /// The file's name, which some parsers look at.
    pub name: String,
    /// The bytes of the file.
    pub bytes: Vec<u8>,
}

impl Seed {
    /// A file of the fixtures, by its path in that folder.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn fixture(path: &str) -> Seed {
        let file = crate::fixture(path);
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match std::fs::read(&file) {
            Ok(bytes) => Seed { name, bytes },
            Err(error) => panic!("{}: {error}", file.display()),
        }
    }
}

/// A parser under test.
pub struct Target<'a> {
    /// The name, for messages and saved inputs.
    pub name: &'static str,
    /// The files that are mutated.
    pub corpus: Vec<Seed>,
    /// Makes a mutated input reach deeper, by correcting its checksums; it is applied to every second input.
    pub repair: Option<fn(&mut [u8])>,
    /// Parses an input. It fails by panicking, or with a message.
    pub run: &'a dyn Fn(&Seed) -> Result<(), String>,
}

/// One input: a file of the corpus and what is changed in it.
#[derive(Debug, Clone)]
struct Case {
    seed: prop::sample::Index,
    donor: prop::sample::Index,
    mutations: Vec<Mutation>,
    repair: bool,
}

impl Target<'_> {
    /// Runs the target as the environment asks for.
    ///
    /// # Panics
    /// If an input makes the parser fail; it is saved, and the message says where and how to run it again.
    pub fn fuzz(&self) {
        assert!(!self.corpus.is_empty(), "{}: the corpus is empty", self.name);
        if let Some(path) = std::env::var_os("MERT_FUZZ_INPUT").map(PathBuf::from) {
            return self.replay(&path);
        }
        let watchdog = Watchdog::start(self.name);
        let seconds = std::env::var("MERT_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
        let Some(seconds) = seconds else { return self.cases(&watchdog, [7; 32], CASES) };
        let (start, mut cases) = (Instant::now(), 0u64);
        while start.elapsed() < Duration::from_secs(seconds) {
            let mut seed = [0; 32];
            seed[..16].copy_from_slice(&(std::process::id() as u128 ^ u128::from(rand_bits())).to_le_bytes());
            self.cases(&watchdog, seed, BATCH);
            cases += u64::from(BATCH);
        }
        #[allow(clippy::print_stdout)] // the result of a long run, for who reads its log
        {
            println!("fuzz {}: {cases} inputs in {} s, none failed", self.name, start.elapsed().as_secs());
        }
    }

    fn replay(&self, path: &Path) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Inputs of other targets bear their names.
        if !name.starts_with(self.name) {
            return;
        }
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = name.rsplit_once('-').map_or(name.clone(), |(_, rest)| rest.to_string());
        if let Err(message) = (self.run)(&Seed { name, bytes }) {
            panic!("{}: {message}", self.name);
        }
    }

    fn cases(&self, watchdog: &Watchdog, seed: [u8; 32], cases: u32) {
        let config = Config { cases, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
        let strategy = (
            any::<prop::sample::Index>(),
            any::<prop::sample::Index>(),
            vec(mutation::strategy(), 1..=MUTATIONS),
            any::<bool>(),
        )
            .prop_map(|(seed, donor, mutations, repair)| Case { seed, donor, mutations, repair });
        let outcome = runner.run(&strategy, |case| {
            let input = self.input(&case);
            watchdog.watch(&input, || (self.run)(&input)).map_err(TestCaseError::fail)
        });
        if let Err(TestError::Fail(reason, case)) = outcome {
            let input = self.input(&case);
            let saved = save(self.name, &input);
            panic!(
                "{}: {reason}\nthe input is saved: {saved}; run it again with MERT_FUZZ_INPUT={saved}\nmade of {} by {:?}",
                self.name, input.name, case.mutations
            );
        }
    }

    fn input(&self, case: &Case) -> Seed {
        let Seed { name, mut bytes } = case.seed.get(&self.corpus).clone();
        let donor = &case.donor.get(&self.corpus).bytes;
        case.mutations.iter().for_each(|mutation| mutation.apply(&mut bytes, donor));
        if let Some(repair) = self.repair.filter(|_| case.repair) {
            repair(&mut bytes);
        }
        Seed { name, bytes }
    }
}

/// Saves an input that failed under the target folder and returns its path.
fn save(target: &str, input: &Seed) -> String {
    let folder = std::env::current_exe()
        .ok()
        .and_then(|test| Some(test.parent()?.parent()?.parent()?.join("fuzz")))
        .unwrap_or_else(|| PathBuf::from("fuzz"));
    let file = folder.join(format!("{target}-{:08x}-{}", checksum(&input.bytes), input.name));
    let saved = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, &input.bytes));
    match saved {
        Ok(()) => file.display().to_string(),
        Err(error) => format!("(not saved: {error})"),
    }
}

/// A short name for an input (FNV-1a).
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn rand_bits() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A parser with a fault that some mutations reach: it believes a length.
    fn faulty(input: &Seed) -> Result<(), String> {
        match input.bytes[..] {
            [length, ref rest @ ..] if usize::from(length) > 200 && rest.len() > 2 => panic!("slice of {length}"),
            _ => Ok(()),
        }
    }

    #[test]
    fn an_input_that_fails_is_found_reduced_and_saved() {
        let corpus = vec![Seed { name: "seed.bin".into(), bytes: vec![5; 40] }];
        let failed = std::panic::catch_unwind(|| {
            let target = Target { name: "faulty", corpus, repair: None, run: &faulty };
            target.cases(&Watchdog::start("faulty"), [7; 32], CASES);
        });
        let message = *failed.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("slice of") && message.contains("MERT_FUZZ_INPUT="), "{message}");
        let saved = message.split("is saved: ").nth(1).unwrap().split(';').next().unwrap();
        assert!(std::fs::read(saved).unwrap()[0] > 200);
        // Reduced to the one mutation that matters.
        assert_eq!(
            message.matches("(Start(").count()
                + message.matches("(Fraction(").count()
                + message.matches("(End(").count(),
            1,
            "{message}"
        );
        std::fs::remove_file(saved).unwrap();
    }

    #[test]
    fn a_parser_without_a_fault_passes() {
        let corpus = vec![Seed { name: "seed.bin".into(), bytes: vec![5; 40] }];
        Target { name: "sound", corpus, repair: Some(|bytes| bytes.fill(0)), run: &|_| Ok(()) }.cases(
            &Watchdog::start("sound"),
            [7; 32],
            CASES,
        );
    }
}
