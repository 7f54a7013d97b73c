#!/usr/bin/env python3
"""Writes a software bill of materials for the archive of every target: a CycloneDX file in JSON with all crates of the build.

    scripts/release/sbom.py --out FOLDER [--target TRIPLE]

Needs `cargo cyclonedx`: `cargo install --locked cargo-cyclonedx`. It reads Cargo.lock for a target and its features, and
builds nothing, so that any machine writes the files of all targets. Times are those of SOURCE_DATE_EPOCH, by default of the
last commit. Exit status: 0 written, 2 they could not be written.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import archive
import project
from environment import ROOT, Failed, run, say

# Beside each manifest of the workspace, until it is moved: not a name that a file of the repository has.
SCRATCH = "release-sbom"


def write(target, version, out):
    """The number of components that the file of a target lists."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(archive.modified())}
    try:
        run(
            "cargo", "cyclonedx", "--quiet", "--manifest-path", ROOT / "crates/cli/Cargo.toml", "--format", "json",
            "--spec-version", "1.5", "--target", target.triple, "--features", ",".join(target.features),
            "--override-filename", SCRATCH, env=environment,
        )
        text = (ROOT / "crates/cli" / f"{SCRATCH}.json").read_text(encoding="utf-8")
    finally:
        for path in ROOT.glob(f"crates/*/{SCRATCH}.json"):
            path.unlink()
    (out / target.sbom(version)).write_text(text, encoding="utf-8", newline="\n")
    return len(json.loads(text)["components"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--target", metavar="TRIPLE")
    arguments = parser.parse_args()
    targets = [project.target(arguments.target)] if arguments.target else project.TARGETS.values()
    arguments.out.mkdir(parents=True, exist_ok=True)
    version = project.version()
    for target in targets:
        count = write(target, version, arguments.out)
        say(f"{target.sbom(version)}: {count} components")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, OSError, subprocess.SubprocessError) as error:
        say(f"release/sbom: {error}")
        sys.exit(2)
