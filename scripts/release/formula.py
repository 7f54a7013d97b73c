#!/usr/bin/env python3
"""Writes the Homebrew formula of a release from its version, its repository and the checksums of its archives.

    scripts/release/formula.py --repository OWNER/NAME --checksums FOLDER [-o FILE]

FOLDER has the .sha256 files that scripts/release/archive.py wrote. Without -o the formula is printed. A tap serves it as
Formula/mert-toolkit.rb. Exit status: 0 written, 2 it could not be written.
"""

import argparse
import re
import sys
from pathlib import Path

import project
from environment import Failed, say

# Homebrew runs the block `test` on the machine that installed the formula.
TEMPLATE = """\
# The commands of the MERT toolkit, from the archives of its release. Written by scripts/release/formula.py.
class MertToolkit < Formula
  desc "Convert, verify and run MERT, HuBERT and wav2vec 2.0 music encoders"
  homepage "{repository}"
  version "{version}"
  license any_of: ["MIT", "Apache-2.0"]

  on_macos do
    url "{mac_url}"
    sha256 "{mac_sha256}"

    depends_on arch: :arm64
  end

  on_linux do
    on_intel do
      url "{intel_url}"
      sha256 "{intel_sha256}"
    end

    on_arm do
      url "{arm_url}"
      sha256 "{arm_sha256}"
    end
  end

  def install
    bin.install {installed}
  end

  test do
    %w[{listed}].each do |name|
      assert_equal "#{{name}} #{{version}}", shell_output("#{{bin}}/#{{name}} --version").strip
    end
    # The built-in fixture: all hidden states of a small model beside those that PyTorch computed.
    system bin/"mert-verify", "--layers", "all"
  end
end
"""
PLACES = {"mac": "aarch64-apple-darwin", "intel": "x86_64-unknown-linux-gnu", "arm": "aarch64-unknown-linux-gnu"}


def read_checksum(folder, name):
    """The SHA-256 of an archive, from the file beside it."""
    path = folder / f"{name}.sha256"
    try:
        text = path.read_text()
    except FileNotFoundError as error:
        raise Failed(f"{path} does not exist: scripts/release/archive.py writes it beside the archive") from error
    line = re.fullmatch(r"([0-9a-f]{64})  (\S+)\n", text)
    if not line or line[2] != name:
        raise Failed(f"{path} has `{text.strip()}`, expected a SHA-256 in hexadecimal, two spaces and `{name}`")
    return line[1]


def formula(repository, version, commands, checksums):
    """The text of the formula; `checksums` gives the SHA-256 of an archive by its name."""
    fields = {"repository": repository, "version": version}
    for place, triple in PLACES.items():
        name = project.target(triple).archive(version)
        fields[f"{place}_url"] = project.download(repository, version, name)
        fields[f"{place}_sha256"] = checksums(name)
    fields["installed"] = ", ".join(f'"{name}"' for name in commands)
    fields["listed"] = " ".join(commands)
    return TEMPLATE.format(**fields)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", required=True, metavar="OWNER/NAME")
    parser.add_argument("--checksums", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE")
    arguments = parser.parse_args()

    address = project.address(arguments.repository)
    checksums = lambda name: read_checksum(arguments.checksums, name)
    text = formula(address, project.version(), project.commands(), checksums)
    if arguments.out:
        arguments.out.write_text(text, newline="\n")
        say(f"wrote {arguments.out}, for {address}")
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, OSError) as error:
        say(f"release/formula: {error}")
        sys.exit(2)
