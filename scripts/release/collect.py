#!/usr/bin/env python3
"""Checks that a folder has every file of a release and no other, writes the Homebrew formula into it, and SHA256SUMS.

    scripts/release/collect.py FOLDER --repository OWNER/NAME

FOLDER has, of every target, the archive with its .sha256, the CycloneDX file and one wheel. Each archive must have the
SHA-256 that was computed where it was built; its .sha256 is then removed, because SHA256SUMS, which `sha256sum --check` and
`shasum -a 256 --check` read, has all of them. Exit status: 0 complete, 1 something is missing, damaged or unexpected, 2 it
could not be checked.
"""

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path

import formula
import project
from environment import Failed, say


def wheel_pattern(target, version):
    """The names that the wheel of a target may have."""
    # A pre-release such as 0.2.0-rc.1 is 0.2.0rc1 in Python.
    python = re.sub(r"-(alpha|beta|rc)\.?", lambda found: {"alpha": "a", "beta": "b", "rc": "rc"}[found[1]], version)
    return re.compile(rf"mert_toolkit-{re.escape(python)}-cp310-abi3-{target.wheel}\.whl")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_sbom(path, version):
    """What is wrong with a CycloneDX file, if anything."""
    try:
        document = json.loads(path.read_text())
        component = document["metadata"]["component"]
    except (ValueError, KeyError, TypeError) as error:
        return f"{path.name} is not a CycloneDX document in JSON with a component that it describes: {error!r}"
    if document.get("bomFormat") != "CycloneDX" or not document.get("components"):
        return f"{path.name} lists no components of the format CycloneDX"
    if (component.get("name"), component.get("version")) != ("mert-cli", version):
        return f"{path.name} describes {component.get('name')} {component.get('version')}, expected mert-cli {version}"
    return None


def faults(folder, version):
    """A message for each file that is missing, damaged or unexpected."""
    names = {path.name for path in folder.iterdir()}
    expected = set()
    for target in project.TARGETS.values():
        archive, sbom = target.archive(version), target.sbom(version)
        wheels = [name for name in names if wheel_pattern(target, version).fullmatch(name)]
        expected |= {archive, f"{archive}.sha256", sbom, *wheels}
        if archive in names and f"{archive}.sha256" in names:
            stated, found = formula.read_checksum(folder, archive), sha256(folder / archive)
            if stated != found:
                yield f"{archive} has SHA-256 {found}, and had {stated} where it was built: build it again"
        if sbom in names and (fault := check_sbom(folder / sbom, version)):
            yield fault
        if len(wheels) != 1:
            pattern = wheel_pattern(target, version).pattern
            yield f"{target.triple} has {len(wheels)} wheels, expected one of the name {pattern}: see the job `wheels`"
    for name in sorted(expected - names):
        yield f"{name} is missing: see the job that uploads it"
    for name in sorted(names - expected):
        yield f"{name} is unexpected: either it has a wrong name, or scripts/release/project.py has to know it"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--repository", required=True, metavar="OWNER/NAME")
    arguments = parser.parse_args()

    folder, version = arguments.folder, project.version()
    found = list(faults(folder, version))
    if found:
        for fault in found:
            say(f"release/collect: {fault}")
        return 1
    address = project.address(arguments.repository)
    checksums = lambda name: formula.read_checksum(folder, name)
    text = formula.formula(address, version, project.commands(), checksums)
    (folder / project.FORMULA).write_text(text, newline="\n")
    for path in folder.glob("*.sha256"):
        path.unlink()
    paths = sorted(folder.iterdir())
    lines = "".join(f"{sha256(path)}  {path.name}\n" for path in paths)
    (folder / project.CHECKSUMS).write_text(lines, newline="\n")
    print(lines, end="")
    say(f"{len(paths)} files and {project.CHECKSUMS}, for {address}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, OSError) as error:
        say(f"release/collect: {error}")
        sys.exit(2)
