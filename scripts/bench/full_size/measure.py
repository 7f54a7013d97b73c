"""Runs of other programs with their seconds and peak memory, and the bandwidth of memory."""

import os
import subprocess
import threading
import time
from pathlib import Path


def forget(*paths):
    """Drops files from the page cache, so that they are read from disk."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def run(*command):
    """Standard output, seconds, and the peak resident memory in bytes, mapped files included."""
    begin = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begin
    if status:
        raise SystemExit(f"failed: {' '.join(map(str, command))}")
    return output.decode(), seconds, usage.ru_maxrss * 1024


def copy(paths, target, limit=2 << 30):
    """Seconds to copy files one after the other to disk. A copy is at most `limit` bytes long and deleted before the next one."""
    seconds = 0.0
    for path in paths:
        with open(path, "rb") as source:
            left = path.stat().st_size
            while left:
                size = min(left, limit)
                begin = time.monotonic()
                with open(target, "wb") as out:
                    for done in range(0, size, 1 << 23):
                        out.write(source.read(min(1 << 23, size - done)))
                    out.flush()
                    os.fsync(out.fileno())
                seconds += time.monotonic() - begin
                left -= size
                Path(target).unlink()
    return seconds


def read_bandwidth(threads=os.cpu_count(), size=1 << 29):
    """Bytes per second of sums over an array that no cache holds, the best of five."""
    # Not at the top: a process that starts counts the memory of the one that started it as its own peak.
    import numpy as np

    parts = [np.ones(size // threads // 8) for _ in range(threads)]
    best = 0.0
    for _ in range(5):
        begin = time.monotonic()
        workers = [threading.Thread(target=part.sum) for part in parts]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        best = max(best, sum(part.nbytes for part in parts) / (time.monotonic() - begin))
    return best


if __name__ == "__main__":
    print(read_bandwidth())
