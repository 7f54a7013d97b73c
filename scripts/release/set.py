#!/usr/bin/env python3
"""Sets the version or the repository's address in every manifest that states it.

    scripts/release/set.py [--version VERSION] [--repository OWNER/NAME]

The version goes into Cargo.toml, once for all crates and once for each dependency between them, into pyproject.toml if that
states one, and into Cargo.lock. The repository goes into Cargo.toml, and every crate that is published inherits it: crates.io
shows it, and cargo-binstall downloads from it. Exit status: 0 written, 2 it could not be written.
"""

import argparse
import re
import subprocess
import sys

import project
from environment import ROOT, Failed, run, say


def replace(path, pattern, replacement, text, at_least=1):
    """The text with all matches of a pattern replaced."""
    text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
    if count < at_least:
        raise Failed(f"{path} has nothing that matches {pattern}: has its form changed?")
    return text


def set_version(version):
    if not re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", version):
        raise Failed(f"invalid version `{version}`: expected MAJOR.MINOR.PATCH, as SemVer has it, without a leading v")
    manifest = ROOT / "Cargo.toml"
    text = replace(manifest, r'^version = ".*"$', f'version = "{version}"', manifest.read_text())
    pattern = r'^(mert-[\w-]+ = \{ path = "crates/.*), version = "[^"]*"'
    manifest.write_text(replace(manifest, pattern, rf'\g<1>, version = "{version}"', text))
    python = ROOT / "pyproject.toml"
    if python.is_file() and re.search(r'^version = "', python.read_text(), re.MULTILINE):
        python.write_text(replace(python, r'^version = ".*"$', f'version = "{version}"', python.read_text()))
    run("cargo", "update", "--workspace", "--offline", "--quiet", cwd=ROOT)
    say(f"version {version}; CHANGELOG.md gets its heading by hand")


def set_repository(address):
    manifest = ROOT / "Cargo.toml"
    text = re.sub(r'^repository = ".*"\n', "", manifest.read_text(), flags=re.MULTILINE)
    line = rf'\g<0>\nrepository = "{address}"'
    manifest.write_text(replace(manifest, r'^license = ".*"$', line, text))
    for path in sorted(ROOT.glob("crates/*/Cargo.toml")):
        text = path.read_text()
        if not re.search(r"^(publish = false|repository\.workspace = true)$", text, re.MULTILINE):
            path.write_text(replace(path, r"^license\.workspace = true$", r"\g<0>\nrepository.workspace = true", text))
    say(f"repository {address}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", metavar="VERSION")
    parser.add_argument("--repository", metavar="OWNER/NAME")
    arguments = parser.parse_args()
    if not (arguments.version or arguments.repository):
        parser.error("nothing to set: expected --version, --repository or both")
    if arguments.version:
        set_version(arguments.version)
    if arguments.repository:
        set_repository(project.address(arguments.repository))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, OSError, subprocess.SubprocessError) as error:
        say(f"release/set: {error}")
        sys.exit(2)
