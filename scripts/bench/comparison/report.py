"""The printed report: the machine, the agreement, the tables."""

import os
import platform
import re
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

FLAGS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_bf16",
    "avx512_vnni",
    "amx_tile",
    "amx_bf16",
    "asimd",
    "sve",
)


@dataclass(frozen=True)
class Row:
    """The runs of one engine at one length."""

    engine: str
    version: str
    ours: bool
    seconds: list
    peak_bytes: int | None

    @property
    def median(self):
        return statistics.median(self.seconds)


def machine():
    """The machine's properties, without which a table means nothing."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text()
    except OSError:
        cpuinfo = ""
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    have = set(flags[1].split()) if flags else set()
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        memory = None
    return {
        "cpu": model[1] if model else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in have],
        "memory_bytes": memory,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def machine_line(found):
    memory = f", {found['memory_bytes'] / 2**30:.0f} GiB" if found["memory_bytes"] else ""
    flags = " ".join(found["flags"]) or "not known"
    return f"{found['cpu']}, {found['cores']} cores ({flags}){memory}, {found['system']}"


def table(rows, gflop, peak_gflops):
    """A Markdown table, the fastest first."""
    ours = next(row for row in rows if row.ours)
    header = [
        "engine",
        "version",
        "median",
        "from",
        "to",
        "GFLOP/s",
        "of peak",
        "times ours",
        "peak RSS",
    ]
    lines = ["| " + " | ".join(header) + " |", "|---|---|" + "--:|" * (len(header) - 2)]
    for row in sorted(rows, key=lambda row: row.median):
        rate = gflop / row.median
        cells = [
            f"**{row.engine}**" if row.ours else row.engine,
            row.version,
            f"{row.median:.3f} s",
            f"{min(row.seconds):.3f} s",
            f"{max(row.seconds):.3f} s",
            f"{rate:.0f}",
            f"{100 * rate / peak_gflops:.0f}%" if peak_gflops else "not measured",
            f"{row.median / ours.median:.2f}",
            f"{row.peak_bytes / 1e6:.0f} MB" if row.peak_bytes else "not measured",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdict(rows):
    """The fastest peer, and by how much ours is faster or slower."""
    ours = next(row for row in rows if row.ours)
    peers = [row for row in rows if not row.ours]
    if not peers:
        return "No peer was run."
    best = min(peers, key=lambda row: row.median)
    text = (
        f"The fastest peer is {best.engine} with {best.median:.3f} s. {ours.engine}: "
        f"{ours.median:.3f} s, {best.median / ours.median:.2f} times as fast."
    )
    measured = [row for row in peers if row.peak_bytes]
    if measured and ours.peak_bytes:
        least = min(measured, key=lambda row: row.peak_bytes)
        text += (
            f" The peer that takes the least memory is {least.engine} with "
            f"{least.peak_bytes / 1e6:.0f} MB. {ours.engine}: {ours.peak_bytes / 1e6:.0f} MB."
        )
    return text


def row_json(row):
    return asdict(row) | {"median": row.median, "min": min(row.seconds), "max": max(row.seconds)}
