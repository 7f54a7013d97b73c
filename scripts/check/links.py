#!/usr/bin/env python3
"""Checks that relative links in Markdown files, and paths of this repository in code spans, lead to what exists.

    scripts/check/links.py [FILE.md...]     (default: the documents of this repository)

Fragments are compared with headings as GitHub names them; a path in a code span begins with crates/, docs/, fixtures/,
scripts/ or tests/. Exit status: 0 all resolve, 1 some do not (each is printed), 2 anything else. Links to other sites
are not followed.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE_PATH = re.compile(r"`(?:\./)?((?:crates|docs|fixtures|scripts|tests)/[\w./-]*)(?=[ `])")
DOCUMENTS = ["*.md", "docs/*.md", "fixtures/README.md", "fixtures/*/README.md"]
# A scheme: https:// or mailto:.
ELSEWHERE = re.compile(r"^[a-z]+:")


def prose(path):
    """The numbered lines of a file outside its fenced blocks."""
    fenced = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, line


def anchors(path):
    """The fragments of a file's headings: in lower case, without punctuation, with hyphens for spaces."""
    found = set()
    for _, line in prose(path):
        if heading := re.match(r"#+ (.*)", line):
            name = re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
            number = sum(other == name or re.fullmatch(rf"{re.escape(name)}-\d+", other) is not None for other in found)
            found.add(f"{name}-{number}" if number else name)
    return found


def broken(path):
    """A message for each link and path of a file that does not resolve."""
    for number, line in prose(path):
        for name in CODE_PATH.findall(line):
            if not (ROOT / name).exists():
                yield f"{path}:{number}: `{name}`: no such file"
        for link in LINK.findall(re.sub(r"`[^`]*`", "`", line)):
            if ELSEWHERE.match(link):
                continue
            name, _, fragment = link.partition("#")
            target = path.parent / name if name else path
            if not target.exists():
                yield f"{path}:{number}: {link}: no such file"
            elif fragment and target.suffix == ".md" and fragment not in anchors(target):
                yield f"{path}:{number}: {link}: no such heading"


def main(names):
    if names and names[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    paths = [Path(name) for name in names] or [path for pattern in DOCUMENTS for path in sorted(ROOT.glob(pattern))]
    if not any(LINK.search(line) for path in paths for _, line in prose(path)):
        print("check/links: no link was found; is the extraction broken?", file=sys.stderr)
        return 1
    faults = [fault for path in paths for fault in broken(path)]
    for fault in faults:
        print(f"check/links: {fault.removeprefix(f'{ROOT}/')}", file=sys.stderr)
    print(f"check/links: {len(paths)} documents, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError as error:
        print(f"check/links: {error}", file=sys.stderr)
        sys.exit(2)
