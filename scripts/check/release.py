#!/usr/bin/env python3
"""Checks that all places that name the files of a release agree, and that every crate can be published.

    scripts/check/release.py [--tag vVERSION] [--repository OWNER/NAME]

Compares with scripts/release/project.py: the versions of crates, of the dependencies between them, of Cargo.lock and
pyproject.toml; the fields that crates.io wants; the metadata of cargo-binstall, expanded for every target; the matrices of the
release workflow; the Homebrew formula of made-up checksums, with `ruby -c` where there is ruby; the table of
docs/releasing.md. Before a release, --tag must be the version's, CHANGELOG.md must have its heading, and --repository must be
the one that Cargo.toml states. Every fault is then made in a copy of these files and must be found. Exit status: 0 all agree,
1 they do not, 2 it could not be checked. PyYAML, if Python lacks it, is installed in target/ on the first call.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "release"))
import formula  # noqa: E402
import project  # noqa: E402
from environment import ROOT, TARGET, Failed, make_venv, say  # noqa: E402

try:
    import yaml
except ImportError:
    yaml = None

# Stands for the address that a release states.
EXAMPLE = "https://github.com/OWNER/NAME"
WORKFLOW = ".github/workflows/release.yml"
COPIED = ["Cargo.toml", "Cargo.lock", "CHANGELOG.md", "README.md", "pyproject.toml", "crates/*/Cargo.toml",
          ".github/workflows/*.yml", "docs/releasing.md"]


def manifests(root):
    """The crates' manifests by the path of each."""
    paths = sorted(path.relative_to(root) for path in root.glob("crates/*/Cargo.toml"))
    return {path: project.read_toml(path, root) for path in paths}


def published(manifest):
    return manifest["package"].get("publish") is not False


def tables_of_dependencies(manifest):
    """The tables of normal and build dependencies, of all targets. Cargo leaves development's out of a published crate."""
    for scope in [manifest, *manifest.get("target", {}).values()]:
        yield from (scope[kind] for kind in ("dependencies", "build-dependencies") if kind in scope)


def version_faults(root):
    """Versions that differ from that of the workspace."""
    version = project.version(root)
    crates = manifests(root)
    names = {manifest["package"]["name"]: manifest for manifest in crates.values()}
    for path, manifest in crates.items():
        if manifest["package"].get("version") != {"workspace": True}:
            yield f"{path} states a version of its own: expected `version.workspace = true`"
    for name, dependency in project.read_toml("Cargo.toml", root)["workspace"]["dependencies"].items():
        if name in names and published(names[name]) and dependency.get("version") != version:
            found = dependency.get("version", "no version")
            yield f"Cargo.toml has {found} for the dependency {name}, expected {version}: run scripts/release/set.py"
    for package in project.read_toml("Cargo.lock", root)["package"]:
        if package["name"] in names and package["version"] != version:
            found = package["version"]
            yield f"Cargo.lock has {package['name']} {found}, expected {version}: run `cargo update --workspace`"
    python = project.read_toml("pyproject.toml", root)["project"]
    if python.get("version", version) != version:
        yield f"pyproject.toml states version {python['version']}, expected {version}: run scripts/release/set.py"
    if "version" not in python and "version" not in python.get("dynamic", []):
        yield 'pyproject.toml has no version: expected one, or `dynamic = ["version"]`, which is that of the crate'
    if python["name"] != project.NAME:
        yield f"pyproject.toml has the name {python['name']}, expected {project.NAME}"


def publishing_faults(root):
    """What crates.io would refuse, or a reader would miss there."""
    crates = manifests(root)
    private = {manifest["package"]["name"] for manifest in crates.values() if not published(manifest)}
    stated = project.repository(root)
    for path, manifest in crates.items():
        package = manifest["package"]
        if not published(manifest):
            continue
        if not package.get("description"):
            yield f"{path} has no description, without which crates.io refuses it"
        for field in ("license", "edition", "rust-version"):
            if package.get(field) != {"workspace": True}:
                yield f"{path} does not inherit {field}: expected `{field}.workspace = true`"
        if (package.get("repository") == {"workspace": True}) != (stated is not None):
            where = "states no repository that it could inherit" if stated is None else f"does not inherit {stated}"
            yield f"{path}: {where}: run scripts/release/set.py --repository OWNER/NAME"
        if "readme" in package and not (root / path.parent / package["readme"]).is_file():
            yield f"{path} has the readme {package['readme']}, which does not exist"
        for name in sorted(private & set().union(*tables_of_dependencies(manifest))):
            yield f"{path} depends on {name}, which is not published: publish it, or depend on it in tests only"


def expand(template, fields):
    """A template of cargo-binstall with its variables filled in."""
    def value(found):
        if found[1] not in fields:
            raise Failed(f"the check does not know the variable `{found[1]}` of cargo-binstall in `{template}`")
        return fields[found[1]]

    return re.sub(r"\{\s*([\w-]+)\s*\}", value, template)


def binstall_faults(root):
    """Addresses and paths that cargo-binstall would look for in vain."""
    path = "crates/cli/Cargo.toml"
    package = project.read_toml(path, root)["package"]
    metadata = package["metadata"]["binstall"]
    overrides = metadata.get("overrides", {})
    version, names = project.version(root), project.commands(root)
    for triple in sorted(set(overrides) - set(project.TARGETS)):
        yield f"{path} overrides binstall's metadata for {triple}, which no release has"
    for target in project.TARGETS.values():
        merged = metadata | overrides.get(target.triple, {})
        fields = {"repo": EXAMPLE, "name": package["name"], "version": version, "target": target.triple}
        found, expected = expand(merged["pkg-url"], fields), project.download(EXAMPLE, version, target.archive(version))
        if found != expected:
            yield f"{path}: binstall looks for {found}, and the release has {expected}"
        kind = "zip" if target.suffix == ".zip" else "tgz"
        if merged["pkg-fmt"] != kind:
            yield f"{path}: binstall's pkg-fmt for {target.triple} is {merged['pkg-fmt']}, and the archive is {kind}"
        for name in names:
            found = expand(merged["bin-dir"], fields | {"bin": name, "binary-ext": ".exe" if target.windows else ""})
            expected = f"{target.folder(version)}/{target.command(name)}"
            if found != expected:
                yield f"{path}: binstall looks in the archive for {found}, which has {expected}"


def workflow_faults(root):
    """What the release workflow would build or publish otherwise than this repository states."""
    texts = {path.relative_to(root): path.read_text() for path in sorted(root.glob(".github/workflows/*.yml"))}
    documents = {}
    for path, text in texts.items():
        try:
            documents[str(path)] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            yield f"{path} is not YAML: {error}"
            return
    workflow = documents[WORKFLOW]
    jobs = workflow["jobs"]
    built = {row["target"]: row for row in jobs["binaries"]["strategy"]["matrix"]["include"]}
    wheels = {row["target"] for row in jobs["wheels"]["strategy"]["matrix"]["include"]}
    for job, found in (("binaries", set(built)), ("wheels", wheels)):
        if found != set(project.TARGETS):
            expected = ", ".join(project.TARGETS)
            yield f"{WORKFLOW}: the job {job} builds {', '.join(sorted(found))}; scripts/release/project.py has {expected}"
    for triple, target in project.TARGETS.items():
        features = tuple(filter(None, built.get(triple, {"features": ""})["features"].split(",")))
        if triple in built and features != target.features:
            yield f"{WORKFLOW} builds {triple} with features {features}, expected {target.features}"
    known = set(project.read_toml("crates/cli/Cargo.toml", root)["features"])
    for target in project.TARGETS.values():
        for feature in sorted(set(target.features) - known):
            yield f"scripts/release/project.py builds with the feature {feature}, which mert-cli does not have"
    number = lambda text: [int(part) for part in text.split(".")]
    stated, compiler = project.workspace_package(root)["rust-version"], workflow["env"]["RUST"]
    if number(compiler)[: len(number(stated))] < number(stated):
        yield f"{WORKFLOW} builds with Rust {compiler}; Cargo.toml requires {stated}"
    for line, action in enumerate(texts[Path(WORKFLOW)].splitlines(), 1):
        if (uses := re.search(r"uses: (\S+)", action)) and not re.search(r"@[0-9a-f]{40}$", uses[1]):
            yield f"{WORKFLOW}:{line}: {uses[1]} is not pinned by its commit"
    for name, job in jobs.items():
        if name != "publish" and "write" in job.get("permissions", {}).values():
            yield f"{WORKFLOW}: the job {name} may write; only `publish` needs to"
    if workflow["permissions"] != {"contents": "read"}:
        yield f"{WORKFLOW}: the permissions of all jobs are {workflow['permissions']}, expected contents: read"
    if jobs["publish"].get("if") != "github.event_name == 'push'":
        yield f"{WORKFLOW}: the job publish runs if {jobs['publish'].get('if')}; it must only for a pushed tag"


def formula_faults(root):
    """What is wrong with the formula that a release would have."""
    version, names = project.version(root), project.commands(root)
    sums = {target.archive(version): f"{index:064x}" for index, target in enumerate(project.TARGETS.values(), 1)}
    text = formula.formula(EXAMPLE, version, names, sums.__getitem__)
    for block, triple in (("on_macos", "aarch64-apple-darwin"), ("on_intel", "x86_64-unknown-linux-gnu"),
                          ("on_arm", "aarch64-unknown-linux-gnu")):
        name = project.target(triple).archive(version)
        pair = f'url "{project.download(EXAMPLE, version, name)}"\n\\s*sha256 "{sums[name]}"'
        if not re.search(rf"{block} do\n\s*{pair}", text):
            yield f"the formula has no address and checksum of {name} in its block {block}"
    for name in names:
        if text.count(f'"{name}"') < 1:
            yield f"the formula does not install {name}"
    opened = len(re.findall(r"^\s*(?:class|def) |\bdo(?: \|\w+\|)?$", text, re.MULTILINE))
    closed = len(re.findall(r"^\s*end$", text, re.MULTILINE))
    if opened != closed:
        yield f"the formula opens {opened} blocks and closes {closed}"
    described = re.search(r'desc "(.*)"', text)[1]
    if len(described) > 80 or described.startswith(("A ", "An ", "The ")):
        yield f"Homebrew wants a description of at most 80 characters without an article in front, found `{described}`"
    if ruby := shutil.which("ruby"):
        result = subprocess.run([ruby, "-c"], input=text, capture_output=True, text=True)
        if result.returncode != 0:
            yield f"ruby refuses the formula: {result.stderr.strip()}"


def document_faults(root):
    """Targets that docs/releasing.md does not list with their features."""
    text = (root / "docs/releasing.md").read_text()
    for target in project.TARGETS.values():
        features = ", ".join(f"`{feature}`" for feature in target.features) or "none"
        if f"| `{target.triple}` | {features} | `{target.suffix}` |" not in text:
            row = f"| `{target.triple}` | {features} | `{target.suffix}` | …"
            yield f"docs/releasing.md has no row of {target.triple} as it is built: expected `{row}`"


def tag_faults(root, tag, slug):
    """What keeps a tag from being released."""
    version, stated = project.version(root), project.repository(root)
    if tag is not None and tag != f"v{version}":
        yield f"the tag is {tag}, and the version {version}: tag v{version}, or run scripts/release/set.py --version"
    if tag is not None and f"\n## [{version}]" not in (root / "CHANGELOG.md").read_text():
        yield f"CHANGELOG.md has no heading `## [{version}] - DATE`: put it under `## [Unreleased]`"
    if slug is not None and stated != project.address(slug):
        found = stated or "no repository, so that cargo-binstall finds no archive"
        yield f"Cargo.toml states {found}: run scripts/release/set.py --repository {slug}"


CHECKS = [version_faults, publishing_faults, binstall_faults, workflow_faults, formula_faults, document_faults]


def copy_files(root):
    for pattern in COPIED:
        for path in ROOT.glob(pattern):
            copy = root / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


# A path, what is replaced in it (a pattern) and by what, and what the fault says.
MUTANTS = [
    ("crates/table/Cargo.toml", r"version\.workspace = true", 'version = "9.9.9"', "crates/table/Cargo.toml states a version"),
    ("Cargo.toml", r'(mert-fs = .*version = )"[^"]*"', r'\1"9.9.9"', "9.9.9 for the dependency mert-fs"),
    ("Cargo.toml", r'(mert-testkit = .*), version = "[^"]*"', r"\1", "no version for the dependency mert-testkit"),
    ("Cargo.lock", r'(name = "mert-hub"\nversion = )".*"', r'\1"9.9.9"', "Cargo.lock has mert-hub 9.9.9"),
    ("crates/hub/Cargo.toml", r"description = .*", "", "no description"),
    ("crates/hub/Cargo.toml", r"license\.workspace = true", 'license = "MIT"', "does not inherit license"),
    ("crates/hub/Cargo.toml", r"rust-version\.workspace = true", "", "does not inherit rust-version"),
    ("crates/testkit/Cargo.toml", r"\[features\]", "publish = false\n[features]", "mert-testkit, which is not published"),
    ("crates/cli/Cargo.toml", r"\.\./\.\./README\.md", "../../READ.md", "which does not exist"),
    ("crates/cli/Cargo.toml", r"\{ version \}-\{ target \}\.tar", "{ target }.tar", "binstall looks for"),
    ("crates/cli/Cargo.toml", r"\{ target \}\.zip", "{ target }.tar.gz", "binstall looks for"),
    ("crates/cli/Cargo.toml", r'pkg-fmt = "zip"', 'pkg-fmt = "tgz"', "pkg-fmt for x86_64-pc-windows-msvc"),
    ("crates/cli/Cargo.toml", r"\{ binary-ext \}", "", "looks in the archive for"),
    ("crates/cli/Cargo.toml", r"overrides\.x86_64-pc-windows-msvc", "overrides.i686-pc-windows-msvc", "which no release has"),
    (WORKFLOW, r"target: aarch64-apple-darwin", "target: x86_64-apple-darwin", "the job binaries builds"),
    (WORKFLOW, r"features: metal,coreml", "features: metal", "aarch64-apple-darwin with features ('metal',)"),
    (WORKFLOW, r"RUST: .*", "RUST: 1.80.0", "builds with Rust 1.80.0"),
    (WORKFLOW, r"(uses: actions/checkout)@\w+", r"\1@v7", "not pinned by its commit"),
    (WORKFLOW, r"if: github\.event_name == 'push'\n    needs", "needs", "the job publish runs if None"),
    (WORKFLOW, r"permissions:\n  contents: read", "permissions:\n  contents: write", "the permissions of all jobs"),
    (WORKFLOW, r"    needs: check\n    runs-on", "    permissions: {contents: write}\n    runs-on", "the job sbom may write"),
    (WORKFLOW, r"jobs:", "jobs: [", "is not YAML"),
    ("pyproject.toml", r'dynamic = .*', 'version = "9.9.9"', "pyproject.toml states version 9.9.9"),
    ("pyproject.toml", r'name = "mert-toolkit"', 'name = "mert"', "pyproject.toml has the name mert"),
    ("docs/releasing.md", r"`metal`, `coreml`", "`metal`", "no row of aarch64-apple-darwin"),
]


def mutant_faults():
    """Mutants that no check finds: a check that cannot fail."""
    with tempfile.TemporaryDirectory() as scratch:
        for path, pattern, replacement, expected in MUTANTS:
            root = Path(scratch)
            copy_files(root)
            text, count = re.subn(pattern, replacement, (root / path).read_text(), count=1)
            if count == 0:
                yield f"the mutant `{expected}` changes nothing in {path}: `{pattern}` is not in it"
                continue
            (root / path).write_text(text)
            found = [fault for check in CHECKS for fault in check(root)]
            if not any(expected in fault for fault in found):
                yield f"a mutant of {path} ({pattern} → {replacement}) was not found as `{expected}`, but as {found}"
        copy_files(Path(scratch))
        for tag, slug, expected in [("v9.9.9", None, "the tag is"), (None, "else/where", "Cargo.toml states")]:
            if not any(expected in fault for fault in tag_faults(Path(scratch), tag, slug)):
                yield f"tag {tag} and repository {slug} were not refused"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tag", metavar="vVERSION")
    parser.add_argument("--repository", metavar="OWNER/NAME")
    arguments = parser.parse_args()
    if yaml is None:
        python = make_venv(TARGET / "venv-release", ["PyYAML==6.0.3"])
        os.execv(python, [str(python), *sys.argv])

    found = [fault for check in CHECKS for fault in check(ROOT)]
    found += tag_faults(ROOT, arguments.tag, arguments.repository)
    if not found:
        found += mutant_faults()
    for fault in found:
        say(f"check/release: {fault}")
    crates = [manifest for manifest in manifests(ROOT).values() if published(manifest)]
    notes = [] if project.repository() else ["no repository stated"]
    notes += [] if shutil.which("ruby") else ["no ruby to read the formula"]
    print(f"check/release: version {project.version()}, {len(crates)} crates to publish, {len(project.TARGETS)} targets,"
          f" {len(MUTANTS) + 2} mutants, {len(found)} faults" + "".join(f"; {note}" for note in notes))
    return 1 if found else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, OSError) as error:
        say(f"check/release: {error}")
        sys.exit(2)
