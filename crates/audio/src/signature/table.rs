//! The table of signatures with their formats, and the file extensions of audio files.

use super::frames::Stream;
use super::{Format, Kind};

/// Byte patterns at fixed offsets.
pub(super) struct Signature {
    marks: &'static [(usize, &'static [u8])],
    pub(super) format: Format,
}

impl Signature {
    pub(super) fn fits(&self, head: &[u8]) -> bool {
        self.marks.iter().all(|&(place, mark)| head.get(place..).is_some_and(|rest| rest.starts_with(mark)))
    }
}

/// A row of the table.
const fn of(marks: &'static [(usize, &'static [u8])], kind: Kind, name: &'static str) -> Signature {
    Signature { marks, format: Format { name, kind } }
}

/// The GUID of Sony's Wave64, without its first four bytes.
const W64: &[u8] = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00";
/// The GUID of an ASF header.
const ASF: &[u8] = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c";

const APE: &str = "Monkey's Audio (APE)";

/// The first matching row wins: longer patterns come before those that they contain.
pub(super) const SIGNATURES: &[Signature] = &[
    // Supported audio
    of(&[(0, b"RIFF"), (8, b"WAVE")], Kind::Wave, "WAV"),
    of(&[(0, b"RIFF"), (8, b"RMP3")], Kind::Mpeg, "MP3 in RIFF"),
    of(&[(0, b"RF64"), (8, b"WAVE")], Kind::Wave, "WAV (RF64)"),
    of(&[(0, b"BW64"), (8, b"WAVE")], Kind::Wave, "WAV (BW64)"),
    of(&[(0, W64)], Kind::Wave, "Wave64"),
    of(&[(0, b"FORM"), (8, b"AIFF")], Kind::Aiff, "AIFF"),
    of(&[(0, b"FORM"), (8, b"AIFC")], Kind::Aiff, "AIFF-C"),
    of(&[(0, b"fLaC")], Kind::Flac, "FLAC"),
    of(&[(0, b"caff\0")], Kind::Caf, "Core Audio Format (CAF)"),
    of(&[(0, b".snd\0")], Kind::Au, "AU (Sun/NeXT)"),
    of(&[(0, b"dns."), (7, b"\0")], Kind::Au, "AU (little-endian)"),
    of(&[(0, b"\x1aE\xdf\xa3")], Kind::Matroska, "Matroska or WebM"),
    // Ogg, by the first packet of the first page
    of(&[(0, b"OggS"), (28, b"\x01vorbis")], Kind::Ogg, "Ogg Vorbis"),
    of(&[(0, b"OggS"), (28, b"OpusHead")], Kind::Ogg, "Opus"),
    of(&[(0, b"OggS"), (28, b"\x7fFLAC")], Kind::Ogg, "FLAC in Ogg"),
    of(&[(0, b"OggS"), (28, b"Speex   ")], Kind::Unread, "Speex"),
    of(&[(0, b"OggS"), (28, b"CELT    ")], Kind::Unread, "CELT"),
    of(&[(0, b"OggS"), (28, b"PCM     ")], Kind::Unread, "PCM in Ogg"),
    of(&[(0, b"OggS")], Kind::Ogg, "Ogg"),
    // MP4 and QuickTime, whose old files may begin with any box
    of(&[(4, b"ftypaax ")], Kind::Unread, "Audible audio book (AAX, encrypted)"),
    of(&[(4, b"ftypaaxc")], Kind::Unread, "Audible audio book (AAXC, encrypted)"),
    of(&[(4, b"ftypheic")], Kind::NotAudio, "a HEIF image"),
    of(&[(4, b"ftypavif")], Kind::NotAudio, "an AVIF image"),
    of(&[(4, b"ftypqt  ")], Kind::Mp4, "QuickTime (MOV)"),
    of(&[(4, b"ftypM4A")], Kind::Mp4, "M4A"),
    of(&[(4, b"ftyp3g")], Kind::Mp4, "3GPP"),
    of(&[(4, b"ftyp")], Kind::Mp4, "MP4"),
    of(&[(4, b"moov")], Kind::Mp4, "QuickTime (MOV)"),
    of(&[(4, b"mdat")], Kind::Mp4, "QuickTime (MOV)"),
    of(&[(4, b"wide"), (12, b"mdat")], Kind::Mp4, "QuickTime (MOV)"),
    of(&[(4, b"free"), (12, b"mdat")], Kind::Mp4, "QuickTime (MOV)"),
    // Unsupported audio
    of(&[(0, b"wvpk")], Kind::Unread, "WavPack"),
    of(&[(0, ASF)], Kind::Unread, "Windows Media Audio (WMA, ASF)"),
    // With the higher byte of its version: 3.3 to 4.1
    of(&[(0, b"MAC "), (5, b"\x0c")], Kind::Unread, APE),
    of(&[(0, b"MAC "), (5, b"\x0d")], Kind::Unread, APE),
    of(&[(0, b"MAC "), (5, b"\x0e")], Kind::Unread, APE),
    of(&[(0, b"MAC "), (5, b"\x0f")], Kind::Unread, APE),
    of(&[(0, b"MAC "), (5, b"\x10")], Kind::Unread, APE),
    of(&[(0, b"TTA1")], Kind::Unread, "True Audio (TTA)"),
    of(&[(0, b"TTA2")], Kind::Unread, "True Audio (TTA)"),
    of(&[(0, b"MPCKSH")], Kind::Unread, "Musepack (MPC)"),
    of(&[(0, b"MP+\x07")], Kind::Unread, "Musepack (MPC)"),
    of(&[(0, b"MP+\x17")], Kind::Unread, "Musepack (MPC)"),
    of(&[(0, b"\x7f\xfe\x80\x01")], Kind::Unread, "DTS"),
    of(&[(0, b"\xfe\x7f\x01\x80")], Kind::Unread, "DTS"),
    of(&[(0, b"\x1f\xff\xe8\x00")], Kind::Unread, "DTS"),
    of(&[(0, b"\xff\x1f\x00\xe8")], Kind::Unread, "DTS"),
    of(&[(0, b"DTSHDHDR")], Kind::Unread, "DTS-HD"),
    of(&[(4, b"\xf8\x72\x6f\xba")], Kind::Unread, "Dolby TrueHD"),
    of(&[(4, b"\xf8\x72\x6f\xbb")], Kind::Unread, "Meridian Lossless Packing (MLP)"),
    of(&[(0, b"#!AMR-WB")], Kind::Unread, "AMR wide band"),
    of(&[(0, b"#!AMR")], Kind::Unread, "AMR"),
    of(&[(0, b"DSD \x1c\0\0\0\0\0\0\0")], Kind::Unread, "DSD (DSF)"),
    of(&[(0, b"FRM8"), (12, b"DSD ")], Kind::Unread, "DSD (DSDIFF)"),
    of(&[(0, b".RMF")], Kind::Unread, "RealMedia"),
    of(&[(0, b".ra\xfd")], Kind::Unread, "RealAudio"),
    of(&[(0, b"OFR ")], Kind::Unread, "OptimFROG"),
    of(&[(0, b"ajkg")], Kind::Unread, "Shorten"),
    of(&[(0, b"LA02")], Kind::Unread, "Lossless Audio (LA)"),
    of(&[(0, b"LA03")], Kind::Unread, "Lossless Audio (LA)"),
    of(&[(0, b"LA04")], Kind::Unread, "Lossless Audio (LA)"),
    of(&[(0, b"tBaK")], Kind::Unread, "TAK"),
    of(&[(0, b"ADIF")], Kind::Unread, "AAC in ADIF"),
    of(&[(0, b"Creative Voice File")], Kind::Unread, "Creative Voice (VOC)"),
    of(&[(0, b"FORM"), (8, b"8SVX")], Kind::Unread, "IFF 8SVX"),
    of(&[(0, b"FORM"), (8, b"16SV")], Kind::Unread, "IFF 16SV"),
    of(&[(0, b"NIST_1A")], Kind::Unread, "NIST SPHERE"),
    of(&[(0, b"MThd")], Kind::NotAudio, "MIDI, which holds notes and no sound: render it with a synthesizer"),
    of(
        &[(0, b"RIFF"), (8, b"RMID")],
        Kind::NotAudio,
        "MIDI, which holds notes and no sound: render it with a synthesizer",
    ),
    of(&[(0, b"Extended Module: ")], Kind::Unread, "a tracker module (XM)"),
    of(&[(0, b"IMPM")], Kind::Unread, "a tracker module (IT)"),
    of(&[(44, b"SCRM")], Kind::Unread, "a tracker module (S3M)"),
    of(&[(1080, b"M.K.")], Kind::Unread, "a tracker module (MOD)"),
    // Video, from which ffmpeg extracts the audio
    of(&[(0, b"RIFF"), (8, b"AVI ")], Kind::Unread, "AVI video"),
    of(&[(0, b"FLV\x01")], Kind::Unread, "Flash video (FLV)"),
    of(&[(0, b"\x00\x00\x01\xba")], Kind::Unread, "MPEG program stream"),
    of(&[(0, b"\x00\x00\x01\xb3")], Kind::Unread, "MPEG video"),
    of(&[(0, b"G"), (188, b"G"), (376, b"G"), (564, b"G")], Kind::Unread, "MPEG transport stream"),
    of(&[(4, b"G"), (196, b"G"), (388, b"G"), (580, b"G")], Kind::Unread, "MPEG transport stream"),
    // Files that are often mistaken for audio
    of(&[(0, b"version https://git-lfs")], Kind::NotAudio, "a Git LFS pointer: fetch the file itself, `git lfs pull`"),
    of(&[(0, b"<!DOCTYPE")], Kind::NotAudio, "an HTML or XML page, such as a server's error: fetch the file again"),
    of(&[(0, b"<!doctype")], Kind::NotAudio, "an HTML page, such as a server's error: fetch the file again"),
    of(&[(0, b"<html")], Kind::NotAudio, "an HTML page, such as a server's error: fetch the file again"),
    of(&[(0, b"<HTML")], Kind::NotAudio, "an HTML page, such as a server's error: fetch the file again"),
    of(&[(0, b"<?xml")], Kind::NotAudio, "XML, such as a server's error: fetch the file again"),
    of(&[(0, b"{\"")], Kind::NotAudio, "JSON, such as a server's error: fetch the file again"),
    of(&[(0, b"{\n")], Kind::NotAudio, "JSON, such as a server's error: fetch the file again"),
    of(&[(0, b"#EXTM3U")], Kind::NotAudio, "a playlist: give it with --list"),
    of(&[(0, b"[playlist]")], Kind::NotAudio, "a playlist (PLS)"),
    of(&[(0, b"PK\x03\x04")], Kind::NotAudio, "a zip archive: unpack it"),
    of(&[(0, b"Rar!")], Kind::NotAudio, "a RAR archive: unpack it"),
    of(&[(0, b"7z\xbc\xaf\x27\x1c")], Kind::NotAudio, "a 7z archive: unpack it"),
    of(&[(0, b"\x1f\x8b")], Kind::NotAudio, "a gzip archive: unpack it"),
    of(&[(257, b"ustar")], Kind::NotAudio, "a tar archive: unpack it"),
    of(&[(0, b"%PDF")], Kind::NotAudio, "a PDF document"),
    of(&[(0, b"\x89PNG")], Kind::NotAudio, "a PNG image"),
    of(&[(0, b"\xff\xd8\xff")], Kind::NotAudio, "a JPEG image"),
    of(&[(0, b"GIF8")], Kind::NotAudio, "a GIF image"),
    of(&[(0, b"RIFF"), (8, b"WEBP")], Kind::NotAudio, "a WebP image"),
    of(&[(0, b"BM"), (6, b"\0\0\0\0")], Kind::NotAudio, "a BMP image"),
    of(&[(0, b"\x93NUMPY")], Kind::NotAudio, "a NumPy array"),
    of(&[(0, b"\x7fELF")], Kind::NotAudio, "a program or library"),
    of(&[(0, b"MZ")], Kind::NotAudio, "a program or library of Windows"),
    of(&[(0, b"\xcf\xfa\xed\xfe")], Kind::NotAudio, "a program or library of macOS"),
    of(&[(0, b"\xce\xfa\xed\xfe")], Kind::NotAudio, "a program or library of macOS"),
    of(&[(0, b"\xca\xfe\xba\xbe")], Kind::NotAudio, "a Java class or a program of macOS"),
    of(&[(0, b"!<arch>\n")], Kind::NotAudio, "a static library or package"),
    of(&[(0, b"SQLite format 3\0")], Kind::NotAudio, "an SQLite database"),
    of(&[(0, b"\xfd7zXZ\0")], Kind::NotAudio, "an xz archive: unpack it"),
    of(&[(0, b"\x28\xb5\x2f\xfd")], Kind::NotAudio, "a zstd archive: unpack it"),
    of(&[(0, b"BZh")], Kind::NotAudio, "a bzip2 archive: unpack it"),
];

/// Separate from the table because zeros may also precede frames.
pub(super) const ZEROS: &Signature =
    &of(&[(0, &[0; 64])], Kind::NotAudio, "zeros, such as a download that did not finish: fetch the file again");

/// The format of a frame stream.
pub(super) fn of_frames(stream: Stream) -> &'static Format {
    const MPEG_1: Format = Format { name: "MP1 (MPEG audio, layer I)", kind: Kind::Mpeg };
    const MPEG_2: Format = Format { name: "MP2 (MPEG audio, layer II)", kind: Kind::Mpeg };
    const MPEG_3: Format = Format { name: "MP3", kind: Kind::Mpeg };
    const ADTS: Format = Format { name: "AAC (ADTS)", kind: Kind::Adts };
    const AC3: Format = Format { name: "Dolby Digital (AC-3 or E-AC-3)", kind: Kind::Unread };
    match stream {
        Stream::Mpeg { layer: 1 } => &MPEG_1,
        Stream::Mpeg { layer: 2 } => &MPEG_2,
        Stream::Mpeg { .. } => &MPEG_3,
        Stream::Adts => &ADTS,
        Stream::Ac3 => &AC3,
    }
}

/// Lowercase extensions of files that folder scans include.
pub const READ_EXTENSIONS: &[&str] = &[
    "3g2", "3gp", "aac", "adts", "aif", "aifc", "aiff", "alac", "au", "bwf", "caf", "fla", "flac", "m4a", "m4b", "m4r",
    "mka", "mkv", "mov", "mp1", "mp2", "mp3", "mp4", "mpa", "mpga", "oga", "ogg", "ogx", "opus", "rf64", "snd", "w64",
    "wav", "wave", "weba", "webm",
];

/// Lowercase extensions of audio files that are not supported.
pub const UNREAD_EXTENSIONS: &[&str] = &[
    "8svx", "aa3", "aax", "aaxc", "ac3", "ac4", "adif", "amr", "ape", "asf", "at3", "avi", "awb", "dff", "dsf", "dts",
    "dtshd", "ec3", "eac3", "flv", "gsm", "m4p", "mid", "midi", "mlp", "mpc", "mp+", "mpp", "oma", "ofr", "ofs", "ra",
    "rm", "rmi", "rmvb", "s3m", "shn", "sph", "spx", "tak", "thd", "tta", "voc", "vox", "wma", "wmv", "wv", "wvc",
    "xm",
];
