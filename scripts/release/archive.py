#!/usr/bin/env python3
"""Packs the commands of one target with README and licences, and writes the archive's SHA-256 beside it.

    scripts/release/archive.py --target TRIPLE --binaries FOLDER --out FOLDER [--newest-glibc VERSION]

FOLDER of --binaries is where cargo left the commands: target/TRIPLE/release. The archive has the name that
scripts/release/project.py gives it, and the same files give the same bytes: times are those of SOURCE_DATE_EPOCH, by default
of the last commit. It is unpacked again and compared with what went in. If the target is this machine's, every unpacked
command must state the version, and mert-verify must find that its built-in fixture computes what PyTorch computes.
With --newest-glibc no command may need a newer glibc. Prints the paths of the two files. Exit status: 0 written, 1 a check failed, 2 it could not be written.
"""

import argparse
import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import notices
import project
from environment import ROOT, Failed, say


class Faulty(Exception):
    """The archive is not what it should be: exit status 1."""


def contents(target, binaries):
    """The files of the archive by name: their bytes, and whether they are executed."""
    files = {name: ((ROOT / name).read_bytes(), False) for name in project.DOCUMENTS}
    missing = [name for name in map(target.command, project.commands()) if not (binaries / name).is_file()]
    if missing:
        raise Failed(
            f"{binaries} has no {', '.join(missing)}: run `cargo build --release -p mert-cli --target {target.triple}`,"
            " or state the folder of its results with --binaries"
        )
    text, *_ = notices.notices(target)
    files[project.THIRD_PARTY] = (text.encode(), False)
    for name in map(target.command, project.commands()):
        files[name] = ((binaries / name).read_bytes(), True)
    return dict(sorted(files.items()))


def modified():
    """The time of every file in the archive, in seconds since 1970."""
    if stated := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(stated)
    log = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True)
    if log.returncode != 0:
        raise Failed("the time of the last commit is unknown: run this in a git checkout, or set SOURCE_DATE_EPOCH")
    return int(log.stdout)


def pack_tar(folder, files, seconds):
    """A .tar.gz archive."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as stream:
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name, (content, executed) in files.items():
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.size, entry.mtime, entry.mode = len(content), seconds, 0o755 if executed else 0o644
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def pack_zip(folder, files, seconds):
    """A .zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (content, executed) in files.items():
            # 1980 is the first year that the format knows.
            entry = zipfile.ZipInfo(f"{folder}/{name}", time.gmtime(max(seconds, 315532800))[:6])
            entry.create_system, entry.external_attr = 3, (0o755 if executed else 0o644) << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def unpack(path, folder):
    """Unpacks an archive as a user would."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    else:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")


def check_unpacked(folder, files):
    """Compares what was unpacked with what was packed."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    if found != set(files):
        raise Faulty(f"the archive unpacks to {sorted(found)}, expected {list(files)}")
    for name, (content, executed) in files.items():
        if (folder / name).read_bytes() != content:
            raise Faulty(f"{name} has other bytes after unpacking")
        if executed and not name.endswith(".exe") and not os.access(folder / name, os.X_OK):
            raise Faulty(f"{name} is not executable after unpacking")


def check_glibc(files, newest):
    """Compares the versions of glibc's symbols that the commands name with the newest that they may need."""
    number = lambda text: tuple(int(part) for part in text.split("."))
    for name, (content, executed) in files.items():
        if not executed:
            continue
        named = [version.decode() for version in re.findall(rb"GLIBC_(\d+(?:\.\d+)+)\0", content)]
        if not named:
            raise Faulty(f"{name} names no symbol of glibc: is it a dynamically linked command for Linux?")
        if number(needed := max(named, key=number)) > number(newest):
            raise Faulty(f"{name} needs glibc {needed}, expected at most {newest}: build it with `cargo zigbuild`")
    say(f"no command needs a glibc newer than {newest}")


def run_commands(folder, target, version):
    """Runs the unpacked commands."""
    for name in project.commands():
        result = subprocess.run([folder / target.command(name), "--version"], capture_output=True, text=True)
        if result.returncode != 0 or result.stdout.strip() != f"{name} {version}":
            raise Faulty(f"`{name} --version` printed `{result.stdout.strip()}`{result.stderr}, expected `{name} {version}`")
    result = subprocess.run(
        [folder / target.command("mert-verify"), "--layers", "all"], capture_output=True, text=True, errors="replace"
    )
    if result.returncode != 0:
        raise Faulty(f"`mert-verify --layers all` ended with {result.returncode}:\n{result.stdout}{result.stderr}")
    say(f"ran the {len(project.commands())} commands, and mert-verify on its built-in fixture")


def host():
    """The triple of this machine, as rustc names it."""
    lines = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout.splitlines()
    return next(line.removeprefix("host: ") for line in lines if line.startswith("host: "))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True, metavar="TRIPLE")
    parser.add_argument("--binaries", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--newest-glibc", metavar="VERSION")
    arguments = parser.parse_args()

    target, version = project.target(arguments.target), project.version()
    files = contents(target, arguments.binaries)
    if arguments.newest_glibc:
        check_glibc(files, arguments.newest_glibc)
    pack = pack_zip if target.windows else pack_tar
    data = pack(target.folder(version), files, modified())
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / target.archive(version)
        path.write_bytes(data)
        unpack(path, Path(scratch) / "unpacked")
        folder = Path(scratch) / "unpacked" / target.folder(version)
        check_unpacked(folder, files)
        if target.triple == host():
            run_commands(folder, target, version)
        else:
            say(f"the commands are for {target.triple}, this is {host()}: none was run")
    path = arguments.out / target.archive(version)
    checksum = path.with_name(path.name + ".sha256")
    path.write_bytes(data)
    checksum.write_text(f"{hashlib.sha256(data).hexdigest()}  {path.name}\n", newline="\n")
    say(f"{path.name}: {len(files)} files, {len(data):,} bytes")
    print(path, checksum, sep="\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Faulty as error:
        say(f"release/archive: {error}")
        sys.exit(1)
    except (Failed, OSError, subprocess.SubprocessError) as error:
        say(f"release/archive: {error}")
        sys.exit(2)
