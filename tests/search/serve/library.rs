//! A catalogue of generated music, the server on it, and a client that speaks HTTP over a plain connection, so that a
//! request can be anything.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mert_audio::music_piece;
use mert_testkit::{fixture, runner};
use serde_json::Value;
use tempfile::TempDir;

/// The sample rate of the generated WAV files.
pub(crate) const RATE: u32 = 24_000;

/// A catalogue of nine pieces as WAV with tags, one FLAC, one AIFF and one M4A file with ALAC without.
pub(crate) struct Library {
    folder: TempDir,
}

impl Library {
    pub(crate) fn new() -> Self {
        let library = Library { folder: TempDir::new().unwrap() };
        std::fs::create_dir(library.music()).unwrap();
        for piece in 0..9 {
            library.write_piece(piece);
        }
        for (from, to) in
            [("16-24k-stereo.flac", "a.flac"), ("s16-32k-mono.aiff", "b.aiff"), ("alac-24-48k-mono.m4a", "c.m4a")]
        {
            std::fs::copy(fixture("audio").join(from), library.music().join(to)).unwrap();
        }
        library.add();
        library
    }

    pub(crate) fn music(&self) -> PathBuf {
        self.folder.path().join("music")
    }

    pub(crate) fn catalogue(&self) -> PathBuf {
        self.folder.path().join("catalogue")
    }

    /// Writes a piece of 2.5 s by one of three artists as `NN.wav`.
    pub(crate) fn write_piece(&self, piece: u32) {
        let samples = music_piece(piece, RATE as usize * 5 / 2, RATE);
        let title =
            if piece == 4 { "<b>\u{5e9}\u{5d9}\u{5e8}</b> & \"more\"".to_string() } else { format!("Piece {piece}") };
        let tags = [
            (b"INAM", title),
            (b"IART", format!("Artist {}", piece % 3)),
            (b"IPRD", format!("Album {}", piece % 2)),
            (b"IGNR", ["Jazz", "Folk"][piece as usize % 2].to_string()),
        ];
        std::fs::write(self.music().join(format!("{piece:02}.wav")), wav(&samples, &tags)).unwrap();
    }

    /// Adds what is new in the folder of music.
    pub(crate) fn add(&self) {
        let (catalogue, music, model) = (self.catalogue(), self.music(), fixture("mert-tiny/model.safetensors"));
        let arguments: [&std::ffi::OsStr; 9] = [
            "add".as_ref(),
            catalogue.as_ref(),
            music.as_ref(),
            "--model".as_ref(),
            model.as_ref(),
            "--window=sliding:0.5s/0.5s".as_ref(),
            "--layers=2,6".as_ref(),
            "--no-loudness".as_ref(),
            "--quiet".as_ref(),
        ];
        let run = runner::run("mert-search", arguments);
        assert_eq!(run.code, 0, "{}", run.stderr);
    }

    pub(crate) fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    pub(crate) fn serve_with(&self, options: &[&str]) -> Server {
        let mut process = Command::new(runner::binary("mert-search"))
            .args(["serve".as_ref(), self.catalogue().as_os_str(), "--port=0".as_ref()])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().trim_start_matches("http://").trim_end_matches('/');
        Server { address: address.parse().unwrap_or_else(|_| panic!("no address: {line:?}")), process }
    }
}

/// A WAV file of 16-bit mono samples with tags in a LIST chunk.
fn wav(samples: &[f32], tags: &[(&[u8; 4], String)]) -> Vec<u8> {
    let chunk = |name: &[u8; 4], data: &[u8]| {
        let mut chunk = name.to_vec();
        chunk.extend((data.len() as u32).to_le_bytes());
        chunk.extend(data);
        chunk.resize(chunk.len() + data.len() % 2, 0);
        chunk
    };
    let mut info = b"INFO".to_vec();
    tags.iter().for_each(|(name, text)| info.extend(chunk(name, format!("{text}\0").as_bytes())));
    let format: Vec<u8> = [1u16.to_le_bytes(), 1u16.to_le_bytes()]
        .concat()
        .into_iter()
        .chain(RATE.to_le_bytes())
        .chain((2 * RATE).to_le_bytes())
        .chain([2, 0, 16, 0])
        .collect();
    let data: Vec<u8> = samples.iter().flat_map(|sample| ((sample * 32767.0) as i16).to_le_bytes()).collect();
    let body = [b"WAVE".to_vec(), chunk(b"fmt ", &format), chunk(b"LIST", &info), chunk(b"data", &data)].concat();
    chunk(b"RIFF", &body)
}

/// A running server, which ends with the value.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Child,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.text()))
    }

    /// The message of an error.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_string()
    }
}

impl Server {
    /// `GET` with the usual `Host`.
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.request("GET", target, &[])
    }

    /// The JSON of a request that succeeds.
    pub(crate) fn json(&self, target: &str) -> Value {
        let answer = self.get(target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        answer.json()
    }

    /// A request; `Host` is the server's address unless it is among the headers.
    pub(crate) fn request(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let mut text = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text.push_str(&format!("Host: {}\r\n", self.address));
        }
        headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
        self.send(method, format!("{text}\r\n").as_bytes())
    }

    /// Sends bytes as they are, and reads the answer to a request of `method`.
    pub(crate) fn send(&self, method: &str, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let mut answer = Answer { status, headers: Vec::new(), body: Vec::new() };
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap() == 0 || line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.trim().split_once(": ") {
                answer.headers.push((name.to_string(), value.to_string()));
            }
        }
        if method != "HEAD" {
            reader.read_to_end(&mut answer.body).unwrap();
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = unchunked(&answer.body);
        } else if let (true, Some(length)) = (method != "HEAD", answer.header("content-length")) {
            assert_eq!(length.parse(), Ok(answer.body.len()), "the length that the header states");
        }
        answer
    }

    /// The number of the track of a file.
    pub(crate) fn track(&self, file: &str) -> u64 {
        let found = self.json(&format!("/api/v1/suggest?q={file}"));
        let is_it = |track: &&Value| Path::new(track["file"].as_str().unwrap()).file_stem().unwrap() == file;
        found["tracks"].as_array().unwrap().iter().find(is_it).unwrap()["track"].as_u64().unwrap()
    }

    /// The identifiers of all tracks.
    pub(crate) fn ids(&self) -> Vec<String> {
        let all = self.json("/api/v1/suggest?limit=100");
        all["tracks"].as_array().unwrap().iter().map(|track| track["id"].as_str().unwrap().to_string()).collect()
    }

    /// Interrupts the server as Ctrl-C does, and returns its exit status.
    #[cfg(unix)]
    pub(crate) fn interrupt(mut self) -> Option<i32> {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.process.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap().trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
    body
}
