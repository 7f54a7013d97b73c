#!/usr/bin/env python3
"""Writes the licences of the crates that a target's commands are linked from, as their packages have them.

    scripts/release/notices.py --target TRIPLE [-o FILE]

Most of these licences ask for their text beside a binary. Crates with the same text stand under one copy of it; a crate
whose package has no text is listed with the licence that it declares. Needs the packages, which a build for the target has
downloaded. scripts/release/archive.py puts the result into the archive. Exit status: 0 written, 2 it could not be written.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import project
from environment import ROOT, Failed, say

FILE = re.compile(r"(un)?licen[cs]e|copying|notice|copyright", re.IGNORECASE)
RULE = "=" * 80


def linked(target):
    """The packages from registries that the commands of a target depend on, build scripts' and tests' left out."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target.triple]
    command += ["--manifest-path", str(ROOT / "crates/cli/Cargo.toml"), "--features", ",".join(target.features)]
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if result.returncode != 0:
        raise Failed(f"`{' '.join(command)}` ended with {result.returncode}: {result.stderr.strip()}")
    metadata = json.loads(result.stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = next(package["id"] for package in metadata["packages"] if package["name"] == "mert-cli")
    reached, waiting = set(), [root]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            normal = lambda dependency: any(kind["kind"] is None for kind in dependency["dep_kinds"])
            waiting += [dependency["pkg"] for dependency in nodes[name]["deps"] if normal(dependency)]
    found = [packages[name] for name in reached if packages[name]["source"]]
    return sorted(found, key=lambda package: (package["name"], package["version"]))


def texts(package):
    """The licence files of a package, in the order of their names."""
    folder = Path(package["manifest_path"]).parent
    paths = {path for path in folder.iterdir() if path.is_file() and FILE.match(path.name) and path.suffix != ".rs"}
    if package.get("license_file") and (folder / package["license_file"]).is_file():
        paths.add(folder / package["license_file"])
    return [path.read_text(encoding="utf-8", errors="replace").strip() for path in sorted(paths)]


def notices(target):
    """The whole text, and the numbers of crates, of texts, and of crates without one."""
    crates, without = {}, []
    packages = linked(target)
    for package in packages:
        label = f"{package['name']} {package['version']} ({package['license'] or 'see below'})"
        found = texts(package)
        for text in found:
            # Copies of one text are wrapped and indented differently.
            crates.setdefault(" ".join(text.split()), (text, []))[1].append(label)
        if not found:
            where = package.get("repository") or f"https://crates.io/crates/{package['name']}"
            without.append(f"{label}: {where}")
    parts = ["The commands of the MERT toolkit are linked from its own crates and from those below. The source of each is at\n"
             "https://crates.io/crates/NAME/VERSION."]
    for text, names in sorted(crates.values(), key=lambda item: item[1]):
        parts.append(f"{RULE}\n" + "\n".join(names) + f"\n{RULE}\n\n{text}")
    parts.append(f"{RULE}\nDeclared, without a text in the package:\n{RULE}\n\n" + "\n".join(without))
    return "\n\n".join(parts) + "\n", len(packages), len(crates), len(without)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True, metavar="TRIPLE")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    text, packages, different, without = notices(project.target(arguments.target))
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8", newline="\n")
    else:
        print(text, end="")
    say(f"{packages} crates, {different} texts, {without} crates without one, {len(text):,} characters")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, OSError) as error:
        say(f"release/notices: {error}")
        sys.exit(2)
