#!/usr/bin/env python3
"""Simulates the embedding of a catalogue on a cluster, from the measured times of its parts: wall time, idle workers, storage.

    scripts/bench/cluster_simulation.py [--tracks 10000000] [--workers 100] [--shard 2000] [--seconds 0.9] [--spread 0.3] …

Shards are taken by whichever worker is free. A shard's time is the sum of its tracks', whose mean is --seconds and whose standard
deviation --spread of it, times the speed of its worker (--slow of them take --slowness times as long), plus --overhead for reading and
writing. Workers die every --hours on average, and lose the shard that they are at. Seeded: the same options give the same figures.
"""

import argparse
import heapq
import random
import statistics


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=10_000_000)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--shard", type=int, default=2000, help="tracks in a shard")
    parser.add_argument("--seconds", type=float, default=0.9, help="of a worker for a track, on average")
    parser.add_argument("--spread", type=float, default=0.3, help="standard deviation of a track's time, as a share of the mean")
    parser.add_argument("--overhead", type=float, default=1.0, help="seconds for a shard besides its tracks")
    parser.add_argument("--start", type=float, default=10.0, help="seconds until a worker has its model")
    parser.add_argument("--hours", type=float, default=48.0, help="between two deaths of a worker, on average; 0: none")
    parser.add_argument("--slow", type=float, default=0.05, help="the share of workers that are slow")
    parser.add_argument("--slowness", type=float, default=1.5, help="how many times as long they take")
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--layers", type=int, default=1)
    arguments = parser.parse_args()

    generator = random.Random(0)
    shards, rest = divmod(arguments.tracks, arguments.shard)
    sizes = [arguments.shard] * shards + ([rest] if rest else [])
    slow = round(arguments.slow * arguments.workers)
    free = [(arguments.start, worker, arguments.slowness if worker < slow else 1.0) for worker in range(arguments.workers)]
    heapq.heapify(free)
    ends, lost, deaths, busy = [], 0.0, 0, 0.0
    queue = list(reversed(sizes))
    while queue:
        now, worker, slowness = heapq.heappop(free)
        size = queue.pop()
        # A sum of many tracks is normal: its deviation is that of one times the square root of their number.
        mean, deviation = size * arguments.seconds, arguments.spread * arguments.seconds * size**0.5
        seconds = slowness * max(generator.gauss(mean, deviation), 0.0) + arguments.overhead
        death = generator.expovariate(1 / (3600 * arguments.hours)) if arguments.hours else float("inf")
        if death < seconds:
            deaths, lost = deaths + 1, lost + death
            queue.append(size)
            heapq.heappush(free, (now + death + arguments.start, worker, slowness))
            continue
        busy += seconds
        ends.append(now + seconds)
        heapq.heappush(free, (now + seconds, worker, slowness))
    wall = max(ends)
    last = sorted(free)
    idle = sum(wall - end for end, _, _ in last)
    rows = arguments.tracks * arguments.layers * arguments.dim * 4
    print(f"shards: {len(sizes)} of {arguments.shard} tracks, {statistics.mean(sizes) * arguments.seconds / 60:.0f} min each")
    print(f"wall time: {wall / 3600:.1f} h; {arguments.workers} workers, {busy / 3600:.0f} worker hours of work")
    print(f"the last shard ends {(wall - last[0][0]) / 60:.0f} min after the first worker has nothing left; idle by then: "
          f"{100 * idle / (wall * arguments.workers):.1f} % of all worker time")
    print(f"deaths: {deaths}, which lose {100 * lost / busy:.2f} % of the work")
    print(f"tables: {rows / 1e9:.1f} GB of vectors, {rows / len(sizes) / 1e6:.1f} MB each")
    print(f"writes: one table and one report every {wall / len(sizes):.1f} s for the whole cluster")


if __name__ == "__main__":
    main()
