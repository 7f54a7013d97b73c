//! The command that error messages print to convert a file to FLAC.

use std::path::Path;

/// The ffmpeg command that converts the file at `path` to FLAC.
pub(in crate::decode) fn command(path: &Path) -> String {
    let flac = path.with_extension("flac");
    let flac = if flac == path { path.with_extension("converted.flac") } else { flac };
    format!("ffmpeg -i {} -map 0:a:0 {}", quoted(path), quoted(&flac))
}

/// The file name quoted for a shell, with `file:` in front where ffmpeg would see an option or a protocol.
fn quoted(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    let prefix = if bytes.starts_with(b"-") || bytes.contains(&b':') { "file:" } else { "" };
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c);
    match path.to_str() {
        Some(name) if !name.is_empty() && name.chars().all(is_plain) => format!("{prefix}{name}"),
        Some(name) if !name.chars().any(char::is_control) => format!("'{prefix}{}'", name.replace('\'', r"'\''")),
        // Bytes that are not text, in the notation of bash and zsh.
        _ => format!("$'{prefix}{}'", bytes.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        for (path, expected) in [
            ("a/b.wma", "ffmpeg -i a/b.wma -map 0:a:0 a/b.flac"),
            ("it's mine.ape", r"ffmpeg -i 'it'\''s mine.ape' -map 0:a:0 'it'\''s mine.flac'"),
            ("$(rm x).tta", "ffmpeg -i '$(rm x).tta' -map 0:a:0 '$(rm x).flac'"),
            ("-y.wma", "ffmpeg -i file:-y.wma -map 0:a:0 file:-y.flac"),
            ("http://x.wma", "ffmpeg -i file:http://x.wma -map 0:a:0 file:http://x.flac"),
            ("odd.flac", "ffmpeg -i odd.flac -map 0:a:0 odd.converted.flac"),
        ] {
            assert_eq!(command(Path::new(path)), expected);
        }
        assert_eq!(quoted(Path::new("a\nb's.wma")), r"$'a\nb\'s.wma'");
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            let name = std::ffi::OsStr::from_bytes(b"-caf\xe9.wma");
            assert_eq!(quoted(Path::new(name)), r"$'file:-caf\xe9.wma'");
        }
    }
}
