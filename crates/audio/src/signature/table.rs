//! The table of byte signatures with their formats, and the file extensions of audio files. Kept apart from the code
//! that searches it, because it is data.

use super::frames::Stream;
use super::{Format, Kind};

/// A format and the byte patterns at fixed offsets that identify it.
pub(super) struct Signature {
    marks: &'static [(usize, &'static [u8])],
    pub(super) format: Format,
}

impl Signature {
    /// Whether `head` has all patterns.
    pub(super) fn fits(&self, head: &[u8]) -> bool {
        self.marks.iter().all(|&(offset, mark)| head.get(offset..).is_some_and(|rest| rest.starts_with(mark)))
    }
}

/// Builds a row of the table.
const fn row(marks: &'static [(usize, &'static [u8])], kind: Kind, name: &'static str) -> Signature {
    Signature { marks, format: Format { name, kind } }
}

/// The GUID of Sony's Wave64, without its first four bytes.
const W64: &[u8] = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00";
/// The GUID of an ASF header.
const ASF: &[u8] = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c";

const APE: &str = "Monkey's Audio (APE)";

/// All signatures. The first matching row wins: longer patterns come before those that they contain.
pub(super) const SIGNATURES: &[Signature] = &[
    // Supported audio
    row(&[(0, b"RIFF"), (8, b"WAVE")], Kind::Wave, "WAV"),
    row(&[(0, b"RIFF"), (8, b"RMP3")], Kind::Mpeg, "MP3 in RIFF"),
    row(&[(0, b"RF64"), (8, b"WAVE")], Kind::Wave, "WAV (RF64)"),
    row(&[(0, b"BW64"), (8, b"WAVE")], Kind::Wave, "WAV (BW64)"),
    row(&[(0, W64)], Kind::Wave, "Wave64"),
    row(&[(0, b"FORM"), (8, b"AIFF")], Kind::Aiff, "AIFF"),
    row(&[(0, b"FORM"), (8, b"AIFC")], Kind::Aiff, "AIFF-C"),
    row(&[(0, b"fLaC")], Kind::Flac, "FLAC"),
    row(&[(0, b"caff\0")], Kind::Caf, "Core Audio Format (CAF)"),
    row(&[(0, b".snd\0")], Kind::Au, "AU (Sun/NeXT)"),
    row(&[(0, b"dns."), (7, b"\0")], Kind::Au, "AU (little-endian)"),
    row(&[(0, b"\x1aE\xdf\xa3")], Kind::Matroska, "Matroska or WebM"),
    // Ogg, by the first packet of the first page
    row(&[(0, b"OggS"), (28, b"\x01vorbis")], Kind::Ogg, "Ogg Vorbis"),
    row(&[(0, b"OggS"), (28, b"OpusHead")], Kind::Ogg, "Opus"),
    row(&[(0, b"OggS"), (28, b"\x7fFLAC")], Kind::Ogg, "FLAC in Ogg"),
    row(&[(0, b"OggS"), (28, b"Speex   ")], Kind::Unsupported, "Speex"),
    row(&[(0, b"OggS"), (28, b"CELT    ")], Kind::Unsupported, "CELT"),
    row(&[(0, b"OggS"), (28, b"PCM     ")], Kind::Unsupported, "PCM in Ogg"),
    row(&[(0, b"OggS")], Kind::Ogg, "Ogg"),
    // MP4 and QuickTime, whose old files may begin with any box
    row(&[(4, b"ftypaax ")], Kind::Unsupported, "Audible audio book (AAX, encrypted)"),
    row(&[(4, b"ftypaaxc")], Kind::Unsupported, "Audible audio book (AAXC, encrypted)"),
    row(&[(4, b"ftypheic")], Kind::NotAudio, "a HEIF image"),
    row(&[(4, b"ftypavif")], Kind::NotAudio, "an AVIF image"),
    row(&[(4, b"ftypqt  ")], Kind::Mp4, "QuickTime (MOV)"),
    row(&[(4, b"ftypM4A")], Kind::Mp4, "M4A"),
    row(&[(4, b"ftyp3g")], Kind::Mp4, "3GPP"),
    row(&[(4, b"ftyp")], Kind::Mp4, "MP4"),
    row(&[(4, b"moov")], Kind::Mp4, "QuickTime (MOV)"),
    row(&[(4, b"mdat")], Kind::Mp4, "QuickTime (MOV)"),
    row(&[(4, b"wide"), (12, b"mdat")], Kind::Mp4, "QuickTime (MOV)"),
    row(&[(4, b"free"), (12, b"mdat")], Kind::Mp4, "QuickTime (MOV)"),
    // Unsupported audio
    row(&[(0, b"wvpk")], Kind::Unsupported, "WavPack"),
    row(&[(0, ASF)], Kind::Unsupported, "Windows Media Audio (WMA, ASF)"),
    // With the high byte of the version, 3.3 to 4.1
    row(&[(0, b"MAC "), (5, b"\x0c")], Kind::Unsupported, APE),
    row(&[(0, b"MAC "), (5, b"\x0d")], Kind::Unsupported, APE),
    row(&[(0, b"MAC "), (5, b"\x0e")], Kind::Unsupported, APE),
    row(&[(0, b"MAC "), (5, b"\x0f")], Kind::Unsupported, APE),
    row(&[(0, b"MAC "), (5, b"\x10")], Kind::Unsupported, APE),
    row(&[(0, b"TTA1")], Kind::Unsupported, "True Audio (TTA)"),
    row(&[(0, b"TTA2")], Kind::Unsupported, "True Audio (TTA)"),
    row(&[(0, b"MPCKSH")], Kind::Unsupported, "Musepack (MPC)"),
    row(&[(0, b"MP+\x07")], Kind::Unsupported, "Musepack (MPC)"),
    row(&[(0, b"MP+\x17")], Kind::Unsupported, "Musepack (MPC)"),
    row(&[(0, b"\x7f\xfe\x80\x01")], Kind::Unsupported, "DTS"),
    row(&[(0, b"\xfe\x7f\x01\x80")], Kind::Unsupported, "DTS"),
    row(&[(0, b"\x1f\xff\xe8\x00")], Kind::Unsupported, "DTS"),
    row(&[(0, b"\xff\x1f\x00\xe8")], Kind::Unsupported, "DTS"),
    row(&[(0, b"DTSHDHDR")], Kind::Unsupported, "DTS-HD"),
    row(&[(4, b"\xf8\x72\x6f\xba")], Kind::Unsupported, "Dolby TrueHD"),
    row(&[(4, b"\xf8\x72\x6f\xbb")], Kind::Unsupported, "Meridian Lossless Packing (MLP)"),
    row(&[(0, b"#!AMR-WB")], Kind::Unsupported, "AMR wide band"),
    row(&[(0, b"#!AMR")], Kind::Unsupported, "AMR"),
    row(&[(0, b"DSD \x1c\0\0\0\0\0\0\0")], Kind::Unsupported, "DSD (DSF)"),
    row(&[(0, b"FRM8"), (12, b"DSD ")], Kind::Unsupported, "DSD (DSDIFF)"),
    row(&[(0, b".RMF")], Kind::Unsupported, "RealMedia"),
    row(&[(0, b".ra\xfd")], Kind::Unsupported, "RealAudio"),
    row(&[(0, b"OFR ")], Kind::Unsupported, "OptimFROG"),
    row(&[(0, b"ajkg")], Kind::Unsupported, "Shorten"),
    row(&[(0, b"LA02")], Kind::Unsupported, "Lossless Audio (LA)"),
    row(&[(0, b"LA03")], Kind::Unsupported, "Lossless Audio (LA)"),
    row(&[(0, b"LA04")], Kind::Unsupported, "Lossless Audio (LA)"),
    row(&[(0, b"tBaK")], Kind::Unsupported, "TAK"),
    row(&[(0, b"ADIF")], Kind::Unsupported, "AAC in ADIF"),
    row(&[(0, b"Creative Voice File")], Kind::Unsupported, "Creative Voice (VOC)"),
    row(&[(0, b"FORM"), (8, b"8SVX")], Kind::Unsupported, "IFF 8SVX"),
    row(&[(0, b"FORM"), (8, b"16SV")], Kind::Unsupported, "IFF 16SV"),
    row(&[(0, b"NIST_1A")], Kind::Unsupported, "NIST SPHERE"),
    row(&[(0, b"MThd")], Kind::NotAudio, "MIDI, which holds notes but no audio: render it with a synthesizer"),
    row(
        &[(0, b"RIFF"), (8, b"RMID")],
        Kind::NotAudio,
        "MIDI, which holds notes but no audio: render it with a synthesizer",
    ),
    row(&[(0, b"Extended Module: ")], Kind::Unsupported, "a tracker module (XM)"),
    row(&[(0, b"IMPM")], Kind::Unsupported, "a tracker module (IT)"),
    row(&[(44, b"SCRM")], Kind::Unsupported, "a tracker module (S3M)"),
    row(&[(1080, b"M.K.")], Kind::Unsupported, "a tracker module (MOD)"),
    // Video, from which ffmpeg extracts the audio
    row(&[(0, b"RIFF"), (8, b"AVI ")], Kind::Unsupported, "AVI video"),
    row(&[(0, b"FLV\x01")], Kind::Unsupported, "Flash video (FLV)"),
    row(&[(0, b"\x00\x00\x01\xba")], Kind::Unsupported, "MPEG program stream"),
    row(&[(0, b"\x00\x00\x01\xb3")], Kind::Unsupported, "MPEG video"),
    row(&[(0, b"G"), (188, b"G"), (376, b"G"), (564, b"G")], Kind::Unsupported, "MPEG transport stream"),
    row(&[(4, b"G"), (196, b"G"), (388, b"G"), (580, b"G")], Kind::Unsupported, "MPEG transport stream"),
    // Files that are often mistaken for audio
    row(
        &[(0, b"version https://git-lfs")],
        Kind::NotAudio,
        "a Git LFS pointer: download the file itself with `git lfs pull`",
    ),
    row(&[(0, b"<!DOCTYPE")], Kind::NotAudio, "an HTML or XML page, such as a server's error: download the file again"),
    row(&[(0, b"<!doctype")], Kind::NotAudio, "an HTML page, such as a server's error: download the file again"),
    row(&[(0, b"<html")], Kind::NotAudio, "an HTML page, such as a server's error: download the file again"),
    row(&[(0, b"<HTML")], Kind::NotAudio, "an HTML page, such as a server's error: download the file again"),
    row(&[(0, b"<?xml")], Kind::NotAudio, "XML, such as a server's error: download the file again"),
    row(&[(0, b"{\"")], Kind::NotAudio, "JSON, such as a server's error: download the file again"),
    row(&[(0, b"{\n")], Kind::NotAudio, "JSON, such as a server's error: download the file again"),
    row(&[(0, b"#EXTM3U")], Kind::NotAudio, "a playlist: use it with --list"),
    row(&[(0, b"[playlist]")], Kind::NotAudio, "a playlist (PLS)"),
    row(&[(0, b"PK\x03\x04")], Kind::NotAudio, "a zip archive: unpack it"),
    row(&[(0, b"Rar!")], Kind::NotAudio, "a RAR archive: unpack it"),
    row(&[(0, b"7z\xbc\xaf\x27\x1c")], Kind::NotAudio, "a 7z archive: unpack it"),
    row(&[(0, b"\x1f\x8b")], Kind::NotAudio, "a gzip archive: unpack it"),
    row(&[(257, b"ustar")], Kind::NotAudio, "a tar archive: unpack it"),
    row(&[(0, b"%PDF")], Kind::NotAudio, "a PDF document"),
    row(&[(0, b"\x89PNG")], Kind::NotAudio, "a PNG image"),
    row(&[(0, b"\xff\xd8\xff")], Kind::NotAudio, "a JPEG image"),
    row(&[(0, b"GIF8")], Kind::NotAudio, "a GIF image"),
    row(&[(0, b"RIFF"), (8, b"WEBP")], Kind::NotAudio, "a WebP image"),
    row(&[(0, b"BM"), (6, b"\0\0\0\0")], Kind::NotAudio, "a BMP image"),
    row(&[(0, b"\x93NUMPY")], Kind::NotAudio, "a NumPy array"),
    row(&[(0, b"\x7fELF")], Kind::NotAudio, "a program or library"),
    row(&[(0, b"MZ")], Kind::NotAudio, "a Windows program or library"),
    row(&[(0, b"\xcf\xfa\xed\xfe")], Kind::NotAudio, "a macOS program or library"),
    row(&[(0, b"\xce\xfa\xed\xfe")], Kind::NotAudio, "a macOS program or library"),
    row(&[(0, b"\xca\xfe\xba\xbe")], Kind::NotAudio, "a Java class or a macOS program"),
    row(&[(0, b"!<arch>\n")], Kind::NotAudio, "a static library or package"),
    row(&[(0, b"SQLite format 3\0")], Kind::NotAudio, "an SQLite database"),
    row(&[(0, b"\xfd7zXZ\0")], Kind::NotAudio, "an xz archive: unpack it"),
    row(&[(0, b"\x28\xb5\x2f\xfd")], Kind::NotAudio, "a zstd archive: unpack it"),
    row(&[(0, b"BZh")], Kind::NotAudio, "a bzip2 archive: unpack it"),
];

/// The signature of a file of zeros. Separate from the table because zeros may also precede frames.
pub(super) const ZEROS: &Signature =
    &row(&[(0, &[0; 64])], Kind::NotAudio, "zeros, such as an unfinished download: download the file again");

/// The format of a stream of frames.
pub(super) fn of_frames(stream: Stream) -> &'static Format {
    const MPEG_1: Format = Format { name: "MP1 (MPEG audio, layer I)", kind: Kind::Mpeg };
    const MPEG_2: Format = Format { name: "MP2 (MPEG audio, layer II)", kind: Kind::Mpeg };
    const MPEG_3: Format = Format { name: "MP3", kind: Kind::Mpeg };
    const ADTS: Format = Format { name: "AAC (ADTS)", kind: Kind::Adts };
    const AC3: Format = Format { name: "Dolby Digital (AC-3 or E-AC-3)", kind: Kind::Unsupported };
    match stream {
        Stream::Mpeg { layer: 1 } => &MPEG_1,
        Stream::Mpeg { layer: 2 } => &MPEG_2,
        Stream::Mpeg { .. } => &MPEG_3,
        Stream::Adts => &ADTS,
        Stream::Ac3 => &AC3,
    }
}

/// Lowercase file extensions of the supported formats.
pub const SUPPORTED_EXTENSIONS: &[&str] = &[
    "3g2", "3gp", "aac", "adts", "aif", "aifc", "aiff", "alac", "au", "bwf", "caf", "fla", "flac", "m4a", "m4b", "m4r",
    "mka", "mkv", "mov", "mp1", "mp2", "mp3", "mp4", "mpa", "mpga", "oga", "ogg", "ogx", "opus", "rf64", "snd", "w64",
    "wav", "wave", "weba", "webm",
];

/// Lowercase file extensions of audio formats that are not supported.
pub(super) const UNSUPPORTED_EXTENSIONS: &[&str] = &[
    "8svx", "aa3", "aax", "aaxc", "ac3", "ac4", "adif", "amr", "ape", "asf", "at3", "avi", "awb", "dff", "dsf", "dts",
    "dtshd", "ec3", "eac3", "flv", "gsm", "m4p", "mid", "midi", "mlp", "mpc", "mp+", "mpp", "oma", "ofr", "ofs", "ra",
    "rm", "rmi", "rmvb", "s3m", "shn", "sph", "spx", "tak", "thd", "tta", "voc", "vox", "wma", "wmv", "wv", "wvc",
    "xm",
];
