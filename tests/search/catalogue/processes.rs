//! Several processes on one catalogue, and processes that are killed while they change it.

use super::*;

/// Commands that are killed at 50 moments leave the state before or after them, and complete when they are given again.
#[test]
fn killed_commands_lose_nothing() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (base, first, second, third) = (at("base"), at("first.parquet"), at("second.parquet"), at("third.parquet"));
    table(&first, 0..150, plain);
    table(&second, 150..200, plain);
    table(&third, 180..330, plain);
    search_ok(&[&"add", &base, &first]);
    search_ok(&[&"add", &base, &second]);
    search_ok(&[&"remove", &base, &"/music/7.flac", &"/music/160.flac"]);
    let metadata = at("metadata.csv");
    let lines: Vec<String> = (0..200).map(|track| format!("/music/{track}.flac,{track}")).collect();
    fs::write(&metadata, format!("path,plays\n{}\n", lines.join("\n"))).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_string();
    let commands: Vec<Vec<String>> = vec![
        vec!["add".into(), String::new(), text(&third)],
        vec!["compact".into(), String::new()],
        vec!["remove".into(), String::new(), "/music/3.flac".into(), "/music/190.flac".into()],
        vec!["update".into(), String::new(), "--metadata".into(), text(&metadata)],
    ];
    let start = |command: &[String], catalogue: &Path| {
        let args: Vec<String> =
            command.iter().map(|arg| if arg.is_empty() { text(catalogue) } else { arg.clone() }).collect();
        Command::new(binary("mert-search")).args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let before = content(&base);
    // What each command does, and how long it takes.
    let mut outcomes = Vec::new();
    for (index, command) in commands.iter().enumerate() {
        let catalogue = at(&format!("after{index}"));
        copy_folder(&base, &catalogue);
        let started = Instant::now();
        assert!(start(command, &catalogue).wait().unwrap().success(), "{command:?}");
        outcomes.push((content(&catalogue), started.elapsed()));
    }
    let mut random = Random(15);
    let (mut as_before, mut as_after) = (0, 0);
    for round in 0..50 {
        let command = &commands[round % commands.len()];
        let (after, duration) = &outcomes[round % commands.len()];
        let catalogue = at("killed");
        let _ = fs::remove_dir_all(&catalogue);
        copy_folder(&base, &catalogue);
        let mut child = start(command, &catalogue);
        std::thread::sleep(duration.mul_f64(random.next(1000) as f64 / 1000.0));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = content(&catalogue);
        let is_before = found == before;
        assert!(is_before || found == *after, "round {round}: {} tracks after {command:?}", found.len());
        as_before += usize::from(is_before);
        as_after += usize::from(!is_before);
        assert_whole(&catalogue);
        // Given again it completes; a second removal finds nothing to remove.
        start(command, &catalogue).wait().unwrap();
        assert_eq!(content(&catalogue), *after, "round {round}: {command:?}");
        assert_whole(&catalogue);
        let left: Vec<String> = fs::read_dir(&catalogue)
            .unwrap()
            .chain(fs::read_dir(catalogue.join("parts")).unwrap())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".partial") || name == "staging")
            .collect();
        assert!(left.is_empty(), "round {round}: {left:?}");
    }
    // Otherwise no moment was within a command's work. `compact` changes no content, so that it counts as before.
    assert!(as_before > 5, "{as_before} before, {as_after} after");
}

/// Sets the flag when it is dropped.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A second writer is refused by name, and readers see only whole states while a catalogue is changed and compacted.
#[test]
fn one_writer_and_many_readers() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (catalogue, first, second) = (at("catalogue"), at("first.parquet"), at("second.parquet"));
    table(&first, 0..40, plain);
    table(&second, 40..60, plain);
    search_ok(&[&"add", &catalogue, &first]);
    {
        let _writer = mert_search::Writer::open(&catalogue).unwrap();
        for args in
            [vec!["add", second.to_str().unwrap()], vec!["compact"], vec!["remove", "/music/1.flac"], vec!["update"]]
        {
            let mut command = vec![args[0], catalogue.to_str().unwrap()];
            command.extend(&args[1..]);
            let run = runner::run("mert-search", command);
            assert!(run.code == 2 && run.stderr.contains("is being changed by another process"), "{run:?}");
        }
        search_ok(&[&"info", &catalogue]);
    }
    let states = [40, 60];
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut reads = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let tracks = content(&catalogue).len();
                        assert!(states.contains(&tracks), "{tracks} tracks");
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        // A failure of the writer must end the readers, too.
        let _stop_readers = StopOnDrop(&stop);
        let gone: PathBuf = at("second.parquet");
        let started = Instant::now();
        let mut rounds = 0;
        while started.elapsed() < Duration::from_secs(3) {
            let mut writer = mert_search::Writer::open(&catalogue).unwrap();
            writer.add(&gone, |_| Default::default()).unwrap();
            writer.compact().unwrap();
            let catalogue = writer.catalogue().unwrap();
            let mut tracks = fixedbitset::FixedBitSet::with_capacity(catalogue.tracks());
            let new = (40..60).map(|track| catalogue.find(format!("/music/{track}.flac").as_ref()).unwrap());
            tracks.extend(new);
            writer.remove(&tracks).unwrap();
            rounds += 1;
        }
        stop.store(true, Ordering::Relaxed);
        let reads: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert!(rounds >= 3 && reads >= 10, "{rounds} rounds, {reads} reads");
    });
    assert_whole(&catalogue);
}
