//! Files as recorders, workstations, editors and taggers write them: if only the header is wrong, they decode to the
//! same samples as intact files.

use std::path::{Path, PathBuf};

use mert_audio::{AudioError, AudioFile, Damage};
use tempfile::TempDir;

use crate::sound::{Decoded, Wav, decode_bytes, find, track, whole};

/// A folder with one file, which each test writes again and again.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Bench { folder: TempDir::new().unwrap() }
    }

    fn write(&self, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("x");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn read(&self, bytes: &[u8], damage: Damage) -> Decoded {
        decode_bytes(&self.folder.path().join("x"), bytes, damage)
    }

    /// The samples of a file that decodes without an error and with `notes` notes.
    fn samples(&self, what: &str, bytes: &[u8], notes: usize) -> Vec<f32> {
        let found = self.read(bytes, Damage::Refuse);
        assert!(found.error.is_none() && found.notes.len() == notes, "{what}: {:?}, {:?}", found.error, found.notes);
        found.samples
    }
}

/// Samples as floats, and as 16-bit integers in bytes.
fn pcm(count: usize) -> (Vec<f32>, Vec<u8>) {
    let integers: Vec<i16> = (0..count).map(|i| ((i * i * 7919) % 60_000) as i16).collect();
    let floats = integers.iter().map(|&x| f32::from(x) / 32_768.0).collect();
    (floats, integers.iter().flat_map(|x| x.to_le_bytes()).collect())
}

/// A chunk of a WAV file, padded, with a stated size.
fn chunk(name: &[u8; 4], size: u32, body: &[u8]) -> Vec<u8> {
    [&name[..], &size.to_le_bytes(), body, &[0][..body.len() % 2]].concat()
}

#[test]
fn wrong_wav_sizes_lose_no_samples() {
    let bench = Bench::new();
    let (expected, data) = pcm(3000);
    let size = data.len() as u32;
    let format = &Wav::S16.header()[20..36];
    let file = |form: u32, stated: u32| {
        let head = [b"RIFF", &form.to_le_bytes()[..], b"WAVE", &chunk(b"fmt ", 16, format)].concat();
        [head, b"data".to_vec(), stated.to_le_bytes().to_vec(), data.clone()].concat()
    };
    for (form, stated, notes) in [
        (36 + size, size, 0),
        (24 + size, size, 0),
        (0, size, 0),
        (8, size, 0),
        (1_000_000, size, 0),
        (36 + size, size + 8, 1),
        (36 + size, size + 5000, 1),
        (0, size + 8, 1),
        (36, 0, 1),
        (36 + size, 0, 1),
        (u32::MAX, u32::MAX, 0),
        (0x7fff_f024, 0x7fff_f000, 0),
        (0, 0x7fff_ffff, 0),
    ] {
        assert_eq!(bench.samples(&format!("{form} {stated}"), &file(form, stated), notes), expected, "{form} {stated}");
    }
    // Sizes that agree with each other mean that the file is truncated.
    for more in [2, 8, 5000] {
        let found = bench.read(&file(36 + size + more, size + more), Damage::Refuse);
        assert!(matches!(found.error, Some(AudioError::Truncated { announced: Some(_), .. })), "{:?}", found.error);
    }
}

#[test]
fn invalid_wav_metadata_is_ignored() {
    let bench = Bench::new();
    let (expected, data) = pcm(3000);
    let format = &Wav::S16.header()[20..36];
    let file = |chunks: &[Vec<u8>]| {
        let body = [&b"WAVE"[..], &chunks.concat()].concat();
        [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat()
    };
    let (format_chunk, data_chunk) = (chunk(b"fmt ", 16, format), chunk(b"data", data.len() as u32, &data));
    let unpadded = [b"LIST", &7u32.to_le_bytes()[..], b"INFOabc"].concat();
    let extensible =
        [&b"\xfe\xff"[..], &format[2..], b"\x16\0\x10\0\0\0\0\0\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"]
            .concat();
    for (what, chunks) in [
        ("an invalid list", vec![chunk(b"LIST", 12, b"INFOIART\xff\xff\xff\x7f"), format_chunk.clone()]),
        ("a fact of another size", vec![format_chunk.clone(), chunk(b"fact", 8, &[0; 8])]),
        ("an odd chunk without padding", vec![format_chunk.clone(), unpadded]),
        ("an odd chunk", vec![format_chunk.clone(), chunk(b"junk", 3, b"abc")]),
        ("a longer format", vec![chunk(b"fmt ", 20, &[format, &[2, 0, 0, 0]].concat())]),
        ("an extensible format", vec![chunk(b"fmt ", 40, &extensible)]),
    ] {
        assert_eq!(bench.samples(what, &file(&[chunks, vec![data_chunk.clone()]].concat()), 0), expected, "{what}");
    }
}

#[test]
fn rf64_bw64_and_w64_are_read() {
    let bench = Bench::new();
    let (expected, data) = pcm(3000);
    let format = &Wav::S16.header()[20..36];
    let size = data.len() as u64;
    for mark in [b"RF64", b"BW64"] {
        for (form, stated, notes) in [(size + 72, size, 0), (size + 72, size + 8, 1), (0, 0, 1)] {
            let sizes = [form, stated, stated / 2].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
            let file = [
                &mark[..],
                b"\xff\xff\xff\xffWAVE",
                &chunk(b"ds64", 28, &[&sizes[..], &[0; 4]].concat()),
                &chunk(b"fmt ", 16, format),
                b"data\xff\xff\xff\xff",
                &data,
            ];
            assert_eq!(bench.samples("RF64", &file.concat(), notes), expected, "{form} {stated}");
        }
        let announced = [size + 72 + 500, size + 500, 0].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let cut = [&mark[..], b"\xff\xff\xff\xffWAVE", &chunk(b"ds64", 24, &announced), &chunk(b"fmt ", 16, format)];
        let cut = [&cut.concat()[..], b"data\xff\xff\xff\xff", &data].concat();
        assert!(matches!(bench.read(&cut, Damage::Refuse).error, Some(AudioError::Truncated { .. })));
    }
    let guid = |name: &[u8; 4]| [&name[..], b"\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a"].concat();
    let part = |name: &[u8; 4], stated: u64, body: &[u8]| {
        let mut part = [&guid(name)[..], &stated.to_le_bytes(), body].concat();
        part.resize(part.len().next_multiple_of(8), 0);
        part
    };
    let body = [guid(b"wave"), part(b"junk", 24 + 3, b"abc"), part(b"fmt ", 24 + 16, format)].concat();
    let body = [body, part(b"data", 24 + size, &data)].concat();
    let riff = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0";
    let file = [&riff[..], &(24 + body.len() as u64).to_le_bytes(), &body].concat();
    assert_eq!(bench.samples("W64", &file, 0), expected);
    assert_eq!(AudioFile::open(&bench.write(&file), Damage::Refuse).unwrap().info().container, "wave");
}

/// AIFF with wrong sizes, as written by Logic, and truncated.
#[test]
fn wrong_aiff_sizes_and_little_endian_samples_are_read() {
    let bench = Bench::new();
    let (expected, bytes) = (whole("s16-32k-mono.aiff"), track("s16-32k-mono.aiff"));
    let at = find(&bytes, b"SSND");
    let with = |place: usize, value: u32| {
        let mut changed = bytes.clone();
        changed[place..place + 4].copy_from_slice(&value.to_be_bytes());
        changed
    };
    let size = |place: usize| u32::from_be_bytes(bytes[place..place + 4].try_into().unwrap());
    let (form, sound) = (size(4), size(at + 4));
    for (what, file, notes) in [
        ("a long form", with(4, form + 20), 0),
        ("a short form", with(4, form - 20), 0),
        ("no form", with(4, 0), 0),
        ("no size of samples", with(at + 4, 0), 1),
        ("a long size of samples", with(at + 4, sound + 100), 1),
        ("a block size", with(at + 12, 512), 0),
        ("an odd chunk", [&bytes[..12], b"ANNO\0\0\0\x03abc\0", &bytes[12..]].concat(), 0),
        ("an odd chunk without padding", [&bytes[..12], b"APPL\0\0\0\x03abc", &bytes[12..]].concat(), 0),
    ] {
        assert_eq!(bench.samples(what, &file, notes), expected, "{what}");
    }
    let cut = bench.read(&bytes[..bytes.len() / 2], Damage::Keep);
    assert!(cut.error.is_none() && cut.notes.len() == 1 && expected.starts_with(&cut.samples));
    // Each sample as three bytes, little-endian and big-endian.
    let rate = &bytes[find(&bytes, b"COMM") + 16..][..10];
    let values: Vec<i32> = (0..999i64).map(|i| (i * 7_654_321 % 8_000_000 - 4_000_000) as i32).collect();
    let expected: Vec<f32> = values.iter().map(|&x| x as f32 / 8_388_608.0).collect();
    for (kind, little) in [(b"sowt", true), (b"42ni", true), (b"in24", false), (b"NONE", false)] {
        let data: Vec<u8> = values
            .iter()
            .flat_map(|x| if little { x.to_le_bytes()[..3].to_vec() } else { x.to_be_bytes()[1..].to_vec() })
            .collect();
        let common = [&b"\0\x01"[..], &999u32.to_be_bytes(), b"\0\x18", rate, kind, b"\0\0"].concat();
        let sound = [&[0; 8][..], &data].concat();
        let part = |name: &[u8; 4], body: &[u8]| {
            [&name[..], &(body.len() as u32).to_be_bytes(), body, &[0][..body.len() % 2]].concat()
        };
        let body = [&b"AIFC"[..], &part(b"COMM", &common), &part(b"SSND", &sound)].concat();
        let file = part(b"FORM", &body);
        assert_eq!(bench.samples("AIFC", &file, 0), expected, "{kind:?}");
        assert_eq!(AudioFile::open(&bench.write(&file), Damage::Refuse).unwrap().info().container, "aiff");
    }
}

#[test]
fn invalid_flac_metadata_is_ignored() {
    let bench = Bench::new();
    let name = "16-44k1-stereo.flac";
    let (expected, bytes) = (whole(name), track(name));
    let mut first = 4;
    while bytes[first] >> 7 == 0 {
        first += 4 + u32::from_be_bytes([0, bytes[first + 1], bytes[first + 2], bytes[first + 3]]) as usize;
    }
    first += 4 + u32::from_be_bytes([0, bytes[first + 1], bytes[first + 2], bytes[first + 3]]) as usize;
    let (head, frames) = (&bytes[4 + 4..4 + 4 + 34], &bytes[first..]);
    let file = |head: &[u8], blocks: &[(u8, &[u8])]| {
        let mut file = b"fLaC\0\0\0\x22".to_vec();
        file[4] = if blocks.is_empty() { 0x80 } else { 0 };
        file.extend(head);
        for (number, (kind, body)) in blocks.iter().enumerate() {
            file.push(kind | if number + 1 == blocks.len() { 0x80 } else { 0 });
            file.extend(&(body.len() as u32).to_be_bytes()[1..]);
            file.extend(*body);
        }
        [&file, frames].concat()
    };
    for (what, blocks) in [
        ("none", &[][..]),
        ("a comment", &[(4u8, &b"\xff\xff\xff\x7f"[..])][..]),
        ("two seek tables", &[(3, &[0xff; 18][..]), (3, &[0; 18])]),
        ("a picture", &[(6, &[0xff; 40][..])]),
        ("a cue sheet", &[(5, &[1; 500][..])]),
        ("an unknown block", &[(77, &[1; 500][..])]),
    ] {
        assert_eq!(bench.samples(what, &file(head, blocks), 0), expected, "{what}");
    }
    // A picture whose size is too small: its rest follows where a block should.
    let mut long = file(head, &[(6, &[0x55; 100]), (1, &[])]);
    let rest = 4 + 4 + 34 + 4 + 100;
    long.splice(rest..rest + 4, [0x7f; 3000]);
    assert_eq!(bench.samples("a picture of another size", &long, 0), expected);
    for (what, place, numbers) in [
        ("smallest block", 0, &[0, 0][..]),
        ("both blocks", 0, &[0, 16, 0, 16]),
        ("frames", 4, &[255, 255, 255, 0, 0, 1]),
    ] {
        let mut head = head.to_vec();
        head[place..place + numbers.len()].copy_from_slice(numbers);
        assert_eq!(bench.samples(what, &file(&head, &[]), 0), expected, "{what}");
    }
}

/// The offsets of the frames of an MP3 file.
fn frames(bytes: &[u8]) -> Vec<usize> {
    (0..bytes.len() - 4).filter(|&i| bytes[i..].starts_with(b"\xff\xfb") && bytes[i + 2] & !2 == 0x90).collect()
}

#[test]
fn data_between_frames_is_damage_if_frames_are_missing() {
    let bench = Bench::new();
    let (expected, bytes) = (whole("no-xing-44k1-stereo.mp3"), track("no-xing-44k1-stereo.mp3"));
    let frames = frames(&bytes);
    let (from, to) = (frames[30], frames[36]);
    let gap = [&bytes[..from], &vec![0; to - from], &bytes[to..]].concat();
    let refused = bench.read(&gap, Damage::Refuse);
    assert!(
        matches!(&refused.error, Some(AudioError::Damaged { seconds, .. }) if (seconds - 30.0 * 1152.0 / 44_100.0).abs() < 1e-9)
    );
    let kept = bench.read(&gap, Damage::Keep);
    assert!(kept.error.is_none() && !kept.notes.is_empty(), "{:?}", kept.error);
    assert_eq!(kept.samples.len(), expected.len(), "silence of the right length");
    assert!(kept.samples[..29 * 1152] == expected[..29 * 1152]);
    assert!(kept.samples[32 * 1152..35 * 1152].iter().all(|&x| x == 0.0));
    assert!(kept.samples[45 * 1152..] == expected[45 * 1152..], "later samples keep their positions");
    // Tags between frames, data after the last frame and zeros before the first are not damage.
    let id3v1 = [&b"TAG"[..], &[b' '; 125]].concat();
    for (what, file, notes) in [
        ("a tag", [&bytes[..from], &id3v1, &bytes[from..]].concat(), 0),
        ("padding", [&bytes[..], &[0; 2000]].concat(), 0),
        ("much padding", [&bytes[..], &[0; 20_000]].concat(), 1),
        ("zeros first", [&[0; 3000][..], &bytes].concat(), 0),
    ] {
        assert!(bench.samples(what, &file, notes) == expected, "{what}");
    }
    // A Xing tag that counts all frames shows that none is missing.
    let tagged = track("cbr-44k1-stereo.mp3");
    let place = self::frames(&tagged)[20];
    let file = [&tagged[..place], &[0; 777][..], &tagged[place..]].concat();
    assert!(bench.samples("bytes that replace nothing", &file, 1) == whole("cbr-44k1-stereo.mp3"));
    // The length of a gap in an AAC stream is unknown.
    let (adts, expected) = (track("adts-24k-mono.aac"), whole("adts-24k-mono.aac"));
    let place = (adts.len() / 2..).find(|&i| adts[i..].starts_with(b"\xff\xf1")).unwrap();
    let file = [&adts[..place], &[0; 300][..], &adts[place..]].concat();
    assert!(matches!(bench.read(&file, Damage::Refuse).error, Some(AudioError::Damaged { .. })));
    let kept = bench.read(&file, Damage::Keep);
    assert!(kept.error.is_none() && kept.notes.len() == 1 && kept.samples.len() == expected.len());
}

/// Gain tools rewrite a field of the tag without updating its checksum.
#[test]
fn the_delay_of_mp3_does_not_depend_on_a_checksum() {
    let bench = Bench::new();
    for name in ["lame-32k-mono.mp3", "cbr-44k1-stereo.mp3"] {
        let mut bytes = track(name);
        let tag = bytes.windows(4).position(|mark| mark == b"Xing" || mark == b"Info").unwrap();
        let encoder = tag + 8 + 112;
        assert!(bytes[encoder..].starts_with(b"La") || bytes[encoder..].starts_with(b"LA"));
        bytes[encoder + 15] ^= 0x2e;
        assert!(bench.samples(name, &bytes, 0) == whole(name), "{name}");
    }
}

/// The pages of an Ogg file.
fn pages(bytes: &[u8]) -> Vec<Vec<u8>> {
    let starts: Vec<usize> = (0..bytes.len()).filter(|&i| bytes[i..].starts_with(b"OggS\0")).collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts.iter().zip(ends).map(|(&start, end)| bytes[start..end].to_vec()).collect()
}

/// Sets a page's position, adds `flags`, and updates its checksum.
fn repage(page: &[u8], position: i64, flags: u8) -> Vec<u8> {
    let mut page = page.to_vec();
    page[5] |= flags;
    page[6..14].copy_from_slice(&position.to_le_bytes());
    page[22..26].fill(0);
    let crc = page.iter().fold(0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    });
    page[22..26].copy_from_slice(&crc.to_le_bytes());
    page
}

#[test]
fn positions_of_ogg_pages_determine_the_trims() {
    let bench = Bench::new();
    let (expected, pages) = (whole("44k1-stereo.ogg"), pages(&track("44k1-stereo.ogg")));
    let position = |page: &[u8]| i64::from_le_bytes(page[6..14].try_into().unwrap());
    let positions: Vec<i64> = pages.iter().map(|page| position(page)).collect();
    assert_eq!(positions[2..], [44_032, 88_256, 110_250]);
    let file = |changes: [(i64, u8); 3]| {
        let changed = pages[2..].iter().zip(changes).map(|(page, (position, flags))| repage(page, position, flags));
        [pages[..2].to_vec(), changed.collect()].concat().concat()
    };
    let [a, b, c] = [positions[2], positions[3], positions[4]];
    let read = |what: &str, changes, notes| bench.samples(what, &file(changes), notes);
    assert!(read("as it was", [(a, 0), (b, 0), (c, 0)], 0) == expected);
    assert!(read("a delay", [(a - 100, 0), (b - 100, 0), (c - 100, 0)], 0) == expected[100..]);
    assert!(read("a long delay", [(a - 5000, 0), (b - 5000, 0), (c - 5000, 0)], 0) == expected[5000..]);
    assert!(read("a part of a stream", [(a + 7777, 0), (b + 7777, 0), (c + 7777, 0)], 0) == expected);
    assert!(read("no position", [(-1, 0), (b, 0), (c, 0)], 0) == expected);
    assert!(read("none in the middle", [(a, 0), (-1, 0), (c, 0)], 0) == expected);
    assert!(read("more padding", [(a, 0), (b, 0), (b + 100, 0)], 0) == expected[..88_356]);
    assert!(read("an end before the last page", [(a, 0), (b - 1000, 4), (c, 0)], 1) == expected[..87_256]);
    assert!(read("an editor's jump", [(a, 0), (b + 104, 0), (c + 104, 0)], 0) == expected);
    // Lost packets with consecutive page numbers.
    let lost = bench.read(&file([(a, 0), (b + 1024, 0), (c + 1024, 0)]), Damage::Refuse);
    assert!(
        matches!(&lost.error, Some(AudioError::Damaged { reason, .. }) if reason.contains("1024 samples")),
        "{:?}",
        lost.error
    );
}

/// iTunes writes the encoder delay as a tag instead of an edit list.
#[test]
fn the_delay_of_m4a_comes_from_a_tag_if_there_is_no_edit_list() {
    let bench = Bench::new();
    let part = |kind: &[u8; 4], body: &[u8]| [&(8 + body.len() as u32).to_be_bytes()[..], kind, body].concat();
    let text = b"\0\0\0\x01\0\0\0\0 00000000 00000400 0000037C 0000000000010262 00000000";
    let tag = [part(b"mean", b"\0\0\0\0com.apple.iTunes"), part(b"name", b"\0\0\0\0iTunSMPB"), part(b"data", text)];
    let handler = part(b"hdlr", &[0; 25]);
    let list = part(b"ilst", &part(b"----", &tag.concat()));
    for version in [&b"\0\0\0\0"[..], b""] {
        let added = part(b"udta", &part(b"meta", &[version, &handler, &list].concat()));
        // `moov` is last in these files, so that it may grow.
        let with_tag = |name: &str| {
            let mut bytes = track(name);
            let movie = bytes.windows(4).rposition(|kind| kind == b"moov").unwrap() - 4;
            let size = u32::from_be_bytes(bytes[movie..movie + 4].try_into().unwrap()) + added.len() as u32;
            bytes[movie..movie + 4].copy_from_slice(&size.to_be_bytes());
            [bytes, added.clone()].concat()
        };
        let name = "no-edit-list-44k1-mono.m4a";
        assert!(bench.samples(name, &with_tag(name), 0) == whole(name)[1024..]);
        let name = "aac-44k1-stereo.m4a";
        assert!(bench.samples(name, &with_tag(name), 0) == whole(name), "the edit list takes precedence");
    }
}

/// The fixture's `esds` box holds the configuration of AAC-LC at 44.1 kHz in stereo.
#[test]
fn he_aac_is_refused_by_its_name_wherever_it_is_signalled() {
    let bench = Bench::new();
    let bytes = track("aac-44k1-stereo.m4a");
    let esds = find(&bytes, b"esds");
    // The tag and length of the configuration: FFmpeg writes five bytes, of which the last three mark the absence of
    // SBR.
    let config = (esds..).find(|&i| bytes[i..].starts_with(b"\x05\x80\x80\x80\x05")).unwrap() + 5;
    assert_eq!(bytes[config..config + 2], [0x12, 0x10]);
    let name = |config_bytes: [u8; 5]| {
        let mut changed = bytes.clone();
        changed[config..config + 5].copy_from_slice(&config_bytes);
        match AudioFile::open(&bench.write(&changed), Damage::Keep) {
            Err(AudioError::Unsupported { what, .. }) => what,
            other => format!("{other:?}"),
        }
    };
    // Object type 5 or 29, 22.05 kHz, stereo, 44.1 kHz, AAC-LC.
    assert_eq!(name([0x2b, 0x92, 0x08, 0, 0]), "HE-AAC (SBR)");
    assert_eq!(name([0xeb, 0x8a, 0x08, 0, 0]), "HE-AAC v2 (SBR and PS)");
    // AAC-LC, 22.05 kHz, stereo, and the sync word 0x2b7, type 5, a flag, 44.1 kHz.
    assert_eq!(name([0x13, 0x90, 0x56, 0xe5, 0xa0]), "HE-AAC (SBR)");
    // The profile in ADTS.
    let mut adts = track("adts-24k-mono.aac");
    let starts: Vec<usize> = (0..adts.len() - 7).filter(|&i| adts[i..].starts_with(b"\xff\xf1")).collect();
    starts.iter().for_each(|&start| adts[start + 2] &= 0x3f);
    let error = AudioFile::open(&bench.write(&adts), Damage::Refuse).unwrap_err();
    assert!(matches!(&error, AudioError::Unsupported { what, .. } if what == "AAC Main"), "{error}");
}

/// Inserts SBR into the frames of an AAC-LC stream without any other signalling: a fill element before the end, or in
/// place of an existing one.
#[test]
fn sbr_that_only_frames_hold_is_detected() {
    let bench = Bench::new();
    let adts = track("adts-24k-mono.aac");
    let mut file = Vec::new();
    let mut place = 0;
    while place < adts.len() {
        let size = usize::from(adts[place + 3] & 3) << 11
            | usize::from(adts[place + 4]) << 3
            | usize::from(adts[place + 5] >> 5);
        let frame = &adts[place..place + size];
        // The end is three bits, then zero padding to a byte; a fill element of six bytes of SBR replaces it.
        let last = frame.len() * 8 - frame[frame.len() - 1].trailing_zeros() as usize;
        let mut bits: Vec<bool> = (56..last - 3).map(|bit| frame[bit / 8] >> (7 - bit % 8) & 1 == 1).collect();
        let mut push = |value: u64, count: usize| bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        push(6, 3);
        push(6, 4);
        push(0xd << 44 | 0x123_4567_89ab, 48);
        push(7, 3);
        let body: Vec<u8> = bits
            .chunks(8)
            .map(|bits| bits.iter().enumerate().map(|(i, &bit)| u8::from(bit) << (7 - i)).sum())
            .collect();
        let length = 7 + body.len();
        let mut head = frame[..7].to_vec();
        head[3] = head[3] & !3 | (length >> 11) as u8;
        head[4] = (length >> 3) as u8;
        head[5] = head[5] & 0x1f | ((length & 7) << 5) as u8;
        file.extend(head);
        file.extend(body);
        place += size;
    }
    for damage in [Damage::Refuse, Damage::Keep] {
        let error = AudioFile::open(&bench.write(&file), damage).unwrap_err();
        assert!(matches!(&error, AudioError::Unsupported { what, .. } if what.starts_with("HE-AAC")), "{error}");
    }
    assert!(AudioFile::open(&bench.write(&adts), Damage::Refuse).is_ok());
}

#[test]
fn opposite_channels_cancel_but_are_not_silent() {
    let bench = Bench::new();
    let file = |right: i16| {
        let data: Vec<u8> = (0..4000i16).flat_map(|i| [i, i * right].into_iter().flat_map(i16::to_le_bytes)).collect();
        bench.write(&Wav { channels: 2, ..Wav::S16 }.with(&data))
    };
    let cancel = |path: &Path| {
        let mut opened = AudioFile::open(path, Damage::Refuse).unwrap();
        while mert_audio::Source::next_block(&mut opened).unwrap().is_some() {}
        opened.channels_cancel()
    };
    assert!(cancel(&file(-1)));
    assert!(!cancel(&file(1)));
    assert!(!cancel(&file(0)));
    assert!(!cancel(&bench.write(&Wav { channels: 2, ..Wav::S16 }.with(&[0; 4000]))), "silence");
}
