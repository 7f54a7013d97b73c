#!/usr/bin/env python3
"""Compares mert-oracle with vmo on random sequences: sfx, lrs, trn, rsfx, Compror's code, information rate and the search
for a threshold. Usage: oracle_vmo.py PATH/TO/oracle_json [--time], where oracle_json is the example of crates/oracle
(cargo build --release -p mert-oracle --example oracle_json). Needs numpy, scipy and vmo (pip install --no-deps vmo).
--time also prints the time and memory of long sequences, beside vmo's on shorter ones."""

import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import vmo.VMO.oracle as reference

DISTANCES = ["euclidean", "sqeuclidean", "cosine", "correlation", "cityblock", "chebyshev", "canberra", "braycurtis"]
# vmo adds in pairs, mert-oracle in order: 300 terms of at most 8 bits.
RATE_TOLERANCE = 1e-9
FIELDS = ["sfx", "lrs", "trn", "rsfx", "code"]
LONG = 1_000_000
KINDS = ["equal", "periodic 8", "periodic 1000", "fibonacci", "random 2", "random 64", "random 2048", "runs 1400", "distinct"]


class Oracle:
    """The example program, a line in and a line out."""

    def __init__(self, program: Path):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, query: dict) -> dict:
        self.process.stdin.write(json.dumps(query) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"FAILED: the program ended at {str(query)[:300]}")
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()
        if self.process.wait() != 0:
            sys.exit(f"FAILED: the program ended with status {self.process.returncode}")


def expected(oracle) -> dict:
    rate = oracle.IR(ir_type="cum")[0]
    return {
        "sfx": oracle.sfx,
        "lrs": oracle.lrs,
        "trn": oracle.trn,
        "rsfx": oracle.rsfx,
        "code": [list(word) for word in oracle.code],
        "ir": rate,
    }


def differences(found: dict, wanted: dict) -> list[str]:
    wrong = [field for field in FIELDS if found[field] != wanted[field]]
    rate = np.asarray(found["ir"])
    if rate.shape != wanted["ir"].shape or not np.allclose(rate, wanted["ir"], rtol=0, atol=RATE_TOLERANCE):
        wrong.append("ir")
    return wrong


def check(found: dict, wanted: dict, what: str, query: dict) -> None:
    wrong = differences(found, wanted)
    if wrong:
        details = {field: (found[field], wanted[field]) for field in wrong}
        sys.exit(f"FAILED: {what}: {', '.join(wrong)} differ\n{json.dumps(query)}\n{str(details)[:2000]}")


def symbols(generator, number: int) -> list[int]:
    """Uniform, looped with errors, or of runs, in turn."""
    alphabet = int(generator.integers(1, 24))
    length = int(generator.integers(1, 300))
    if number % 3 == 0:
        row = generator.integers(0, alphabet, length)
    elif number % 3 == 1:
        row = np.resize(generator.integers(0, alphabet, generator.integers(1, 12)), length)
        wrong = generator.random(length) < 0.05
        row = np.where(wrong, generator.integers(0, alphabet, length), row)
    else:
        row = np.repeat(generator.integers(0, alphabet, length), generator.integers(1, 9, length))[:length]
    # Names far apart, and 0, which is vmo's data of state 0.
    return (row * int(generator.integers(1, 99))).tolist()


def vectors(generator, number: int) -> np.ndarray:
    """Noise, or a loop with noise."""
    dim, length = int(generator.integers(1, 8)), int(generator.integers(2, 120))
    if number % 2:
        return generator.random((length, dim)) + 0.01
    loop = generator.random((int(generator.integers(2, 10)), dim)) + 0.01
    return np.resize(loop, (length, dim)) + generator.normal(0, 0.03, (length, dim))


def symbolic(oracle: Oracle, count: int) -> int:
    generator = np.random.default_rng(1)
    states = 0
    for number in range(count):
        row = symbols(generator, number)
        wanted = expected(reference.build_oracle(row, flag="f"))
        query = {"symbols": row}
        check(oracle.ask(query), wanted, f"symbols {number}", query)
        states += len(row)
    return states


def continuous(oracle: Oracle, count: int) -> tuple[int, int]:
    generator = np.random.default_rng(2)
    states = searches = 0
    for number in range(count):
        rows = vectors(generator, number)
        distance = DISTANCES[number % len(DISTANCES)]
        complete = number % 5 == 4
        scale = np.median(reference.dist.pdist(rows, distance))
        threshold = float(scale * generator.uniform(0, 1.2)) if np.isfinite(scale) else 0.1
        settings = dict(dfunc=distance, dim=rows.shape[1], suffix_method="complete" if complete else "inc")
        query = {"vectors": rows.tolist(), "threshold": threshold, "distance": distance, "complete": complete}
        grid = None
        if number % 4 == 0 and np.isfinite(scale):
            grid = (0.0, float(scale * 1.3), float(scale / 6))
            query["grid"] = grid
        found = oracle.ask(query)
        wanted = expected(reference.build_oracle(rows, flag="a", threshold=threshold, **settings))
        check(found, wanted, f"vectors {number} ({distance}, θ {threshold})", query)
        states += len(rows)
        if grid:
            (best, theta), curve = reference.find_threshold(rows, r=grid, flag="a", **settings)
            rates = [score["information_rate"] for score in found["curve"]]
            thetas = [score["threshold"] for score in found["curve"]]
            same = len(rates) == len(curve) and np.allclose([rates, thetas], np.transpose(curve), rtol=0, atol=RATE_TOLERANCE * 300)
            if not same or found["best"]["threshold"] != theta:
                sys.exit(f"FAILED: θ search of vectors {number} ({distance}): {found['best']} {(best, theta)}")
            searches += 1
    return states, searches


def must_fail() -> None:
    """The comparison notices a change of any array by one."""
    wanted = expected(reference.build_oracle([1, 2, 2, 2, 1, 1, 2], flag="f"))
    for field in [*FIELDS, "ir"]:
        found = json.loads(json.dumps({**wanted, "ir": wanted["ir"].tolist()}))
        last = found[field][-1]
        found[field][-1] = [*last, 1] if isinstance(last, list) else last + 1e-6
        if differences(found, wanted) != [field]:
            sys.exit(f"FAILED: a wrong {field} is not noticed")


def timings(program: Path) -> None:
    for kind in KINDS:
        oracle = Oracle(program)
        answer = oracle.ask({"time": {"kind": kind, "length": LONG}})
        oracle.close()
        figures = answer["statistics"]
        print(
            f"  {LONG:,} tokens, {kind}: {answer['seconds']:.3f} s, peak {answer['peak_kib'] / 1024:.0f} MiB, "
            f"{figures['arrows']:,} arrows, mean lrs {figures['mean_lrs']:.1f}"
        )
    oracle = Oracle(program)
    answer = oracle.ask({"time": {"kind": "equal", "length": 3 * LONG}})
    print(f"  {3 * LONG:,} tokens, equal: {answer['seconds']:.3f} s")
    oracle.close()
    oracle = Oracle(program)
    figures = oracle.ask({"time": {"kind": "random 2048", "length": LONG, "file": True}})["file"]
    for form in ("json", "binary"):
        print(f"  file of {LONG:,} tokens, random 2048, {form}: {figures[form + '_bytes'] / 1e6:.1f} MB, "
              f"written in {figures['write_' + form]:.2f} s, read and checked in {figures['read_' + form]:.2f} s")
    print(f"  peak with both forms in memory: {figures['peak_kib'] / 1024:.0f} MiB")
    oracle.close()
    oracle = Oracle(program)
    rows = np.resize(np.random.default_rng(3).random((64, 15)), (6000, 15)) + np.random.default_rng(4).random((6000, 15)) * 0.02
    start = time.perf_counter()
    reference.build_oracle(rows, flag="a", threshold=0.05 * 15**0.5, dfunc="euclidean", dim=15)
    theirs = time.perf_counter() - start
    for length in (6000, 100_000):
        answer = oracle.ask({"time": {"kind": "vectors 15", "length": length}})
        print(f"  {length:,} vectors of 15, {answer['statistics']['clusters']} clusters: mert-oracle {answer['seconds']:.3f} s"
              + (f", vmo {theirs:.2f} s" if length == 6000 else ""))
    for alphabet, length in [(2, 40_000), (64, 40_000), (2048, 10_000)]:
        row = np.random.default_rng(3).integers(0, alphabet, length).tolist()
        start = time.perf_counter()
        reference.build_oracle(row, flag="f")
        theirs = time.perf_counter() - start
        ours = oracle.ask({"time": {"kind": f"random {alphabet}", "length": length}})["seconds"]
        print(f"  {length:,} tokens, random {alphabet}: vmo {theirs:.2f} s, mert-oracle {ours:.4f} s")
    oracle.close()


def main() -> None:
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    program = Path(sys.argv[1]).resolve()
    start = time.perf_counter()
    must_fail()
    oracle = Oracle(program)
    states = symbolic(oracle, 1200)
    print(f"  ok equal to vmo: 1200 symbolic sequences, {states:,} states: {', '.join(FIELDS)}, ir")
    states, searches = continuous(oracle, 1200)
    print(f"  ok equal to vmo: 1200 continuous sequences, {states:,} states, {len(DISTANCES)} distances, inc and complete; "
          f"{searches} searches for a threshold")
    oracle.close()
    if "--time" in sys.argv:
        timings(program)
    print(f"took {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
