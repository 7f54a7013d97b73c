#!/usr/bin/env bash
# Counts the instructions of the kernels under valgrind and compares them with the recorded counts. The count does
# not depend on other load, so a regression shows on a busy machine, too.
#
#   scripts/bench/instructions.sh            compare; exit status 1 if a kernel takes over 5% more
#   scripts/bench/instructions.sh --record   record the counts
#
# Every crate with a benches/instructions.rs takes part; its record is the instructions.tsv beside it. Counts
# differ from compiler to compiler, so the record names the compiler, and with another nothing is compared:
# exit status 2, as for everything else that prevents a comparison.
#
# Needs Linux, valgrind and python3. gungraun-runner, in the version that Cargo.lock has, is installed into
# target/ on the first call.
#
# MERT_BENCH_TOLERANCE   the largest accepted regression, in percent (default: 5)
set -euo pipefail
cd "$(dirname "$0")/../.."

case "${1-}" in '' | --record) ;; *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;; esac
command -v valgrind >/dev/null || { echo "bench/instructions: valgrind is not installed" >&2; exit 2; }

target="${CARGO_TARGET_DIR:-target}"
version="$(sed -n '/^name = "gungraun"$/{n;s/^version = "\(.*\)"$/\1/p}' Cargo.lock)"
runner="$target/gungraun-runner-$version"
if [ ! -x "$runner/bin/gungraun-runner" ]; then
  echo "bench/instructions: installing gungraun-runner $version" >&2
  cargo install --quiet --locked gungraun-runner --version "$version" --root "$runner" >&2 || exit 2
fi
PATH="$(cd "$runner/bin" && pwd):$PATH"
export PATH

compiler="$(rustc --version | cut -d ' ' -f 1,2), $(uname -m)"
status=0
for bench in crates/*/benches/instructions.rs; do
  crate="$(sed -n 's/^name = "\(.*\)"/\1/p' "${bench%/benches/*}/Cargo.toml" | head -1)"
  echo "== $crate ($compiler, $(valgrind --version))"
  found="$target/instructions-$crate.json"
  cargo bench --quiet --package "$crate" --bench instructions -- --output-format=json >"$found" || exit 2
  python3 - "$found" "${bench%.rs}.tsv" "$compiler" "${MERT_BENCH_TOLERANCE:-5}" "${1-}" <<'PY' || status=$((status > $? ? status : $?))
import json
import sys

found_file, record_file, compiler, tolerance, record = sys.argv[1:]
found = {}
for line in open(found_file):
    bench = json.loads(line)
    metrics = bench["profiles"][0]["data"]["parts"][0]["metrics"]["Ir"]["values"]
    found[f"{bench['function_name']} {bench['id']}"] = int(metrics["new"])
if not found:
    sys.exit("bench/instructions: nothing was counted")

if record:
    with open(record_file, "w") as out:
        out.write(f"# {compiler}; written by scripts/bench/instructions.sh --record\n")
        out.writelines(f"{name}\t{count}\n" for name, count in sorted(found.items()))
    print(f"{len(found)} counts recorded in {record_file}")
    sys.exit(0)

try:
    lines = open(record_file).read().splitlines()
except FileNotFoundError:
    print(f"{record_file} is missing: make it with --record", file=sys.stderr)
    sys.exit(2)
recorded_with = lines[0].removeprefix("# ").split(";")[0]
if recorded_with != compiler:
    print(f"{record_file} was recorded with {recorded_with}, this is {compiler}: nothing to compare with", file=sys.stderr)
    sys.exit(2)
recorded = {name: int(count) for name, count in (line.split("\t") for line in lines[1:])}
failed = recorded.keys() != found.keys()
for name in sorted(recorded.keys() | found.keys()):
    before, now = recorded.get(name), found.get(name)
    if before is None or now is None:
        print(f"{name:40} {'not recorded' if before is None else 'gone'}: record again")
        continue
    change = 100 * (now - before) / before
    worse = change > float(tolerance)
    failed |= worse
    note = "REGRESSION" if worse else "faster: record again" if change < -float(tolerance) else ""
    print(f"{name:40} {now:>12,} {change:+7.1f}%  {note}")
sys.exit(1 if failed else 0)
PY
done
exit "$status"
