"""What a release consists of: version, commands, targets, and the names of its files. The scripts beside this one, the check
in scripts/check/release.py and the documents take them from here; the workflow and crates/cli/Cargo.toml state them again,
because GitHub and cargo-binstall read nothing else, and are compared with this by the check.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

try:
    import tomllib
except ImportError:
    sys.exit("release: Python 3.11 or newer is needed, which reads TOML")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environment import ROOT, Failed  # noqa: E402

NAME = "mert-toolkit"
# Beside the commands in every archive.
DOCUMENTS = ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md"]
THIRD_PARTY = "THIRD-PARTY-LICENSES.txt"
CHECKSUMS = "SHA256SUMS"
FORMULA = f"{NAME}.rb"


@dataclass(frozen=True)
class Target:
    """A platform that a release has an archive for, and the tag of its wheel's file name as a pattern."""

    triple: str
    features: tuple[str, ...]
    wheel: str

    @property
    def windows(self):
        return "windows" in self.triple

    @property
    def suffix(self):
        return ".zip" if self.windows else ".tar.gz"

    def command(self, name):
        """The file name of a command."""
        return f"{name}.exe" if self.windows else name

    def folder(self, version):
        """The one folder at the top of the archive."""
        return f"{NAME}-{version}-{self.triple}"

    def archive(self, version):
        return self.folder(version) + self.suffix

    def sbom(self, version):
        """The file name of the software bill of materials, which CycloneDX wants to end in .cdx.json."""
        return self.folder(version) + ".cdx.json"


TARGETS = {
    target.triple: target
    for target in [
        Target("x86_64-unknown-linux-gnu", (), r"manylinux[\w.]*_x86_64"),
        Target("aarch64-unknown-linux-gnu", (), r"manylinux[\w.]*_aarch64"),
        Target("aarch64-apple-darwin", ("metal", "coreml"), r"macosx_\w+_arm64"),
        Target("x86_64-pc-windows-msvc", (), "win_amd64"),
    ]
}


def target(triple):
    """The target of a triple."""
    if triple not in TARGETS:
        raise Failed(f"{triple}: no such target in scripts/release/project.py; it has {', '.join(TARGETS)}")
    return TARGETS[triple]


def read_toml(path, root=ROOT):
    """A TOML file of the repository as a dictionary."""
    try:
        return tomllib.loads((root / path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise Failed(f"{path}: {error}") from error


def workspace_package(root=ROOT):
    """The table `workspace.package` of the root manifest."""
    return read_toml("Cargo.toml", root)["workspace"]["package"]


def version(root=ROOT):
    """The version of all crates."""
    return workspace_package(root)["version"]


def repository(root=ROOT):
    """The repository's address, or None as long as the root manifest has none."""
    return workspace_package(root).get("repository")


def commands(root=ROOT):
    """The names of the commands, sorted."""
    return sorted(binary["name"] for binary in read_toml("crates/cli/Cargo.toml", root)["bin"])


def address(slug):
    """The address of a repository on GitHub, from OWNER/NAME."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", slug):
        raise Failed(f"invalid repository `{slug}`: expected OWNER/NAME, as GitHub's address has it")
    return f"https://github.com/{slug}"


def download(repository, version, name):
    """The address of a file of a release."""
    return f"{repository}/releases/download/v{version}/{name}"
