"""The printed report: the machine and the tables."""

import os
import platform
import re
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

from comparison.verification import Agreement

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
    precision: str
    # None for the engine with which the others are compared.
    agreement: Agreement | None
    # It runs a model of equal size instead of this one.
    other_model: bool
    # Empty if it was not timed.
    seconds: list
    peak_bytes: int | None

    @property
    def median(self):
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def accepted(self):
        """It runs this model, and every pooled cosine is above the limit."""
        return not self.other_model and (self.agreement is None or self.agreement.accepted)


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


HEADER = [
    *("engine", "version", "precision", "median", "from", "to", "GFLOP/s", "of peak", "times ours"),
    *("peak RSS", "worst NMSE", "worst pooled cosine", "worst frame cosine"),
]
TEXT_COLUMNS = 3


def table(rows, gflop, peaks):
    """A Markdown table, the fastest first. What was not timed is at the end. `peaks` has the arithmetic peak of each precision."""
    ours = next((row for row in rows if row.ours and row.seconds), None)
    rule = "|" + "---|" * TEXT_COLUMNS + "--:|" * (len(HEADER) - TEXT_COLUMNS)
    lines = ["| " + " | ".join(HEADER) + " |", rule]
    for row in sorted(rows, key=lambda row: row.median or float("inf")):
        cells = [f"**{row.engine}**" if row.ours else row.engine, row.version, row.precision]
        cells += time_cells(row, ours, gflop, peaks.get(row.precision)) + agreement_cells(row.agreement)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def time_cells(row, ours, gflop, peak):
    if not row.seconds:
        return ["not timed"] + 6 * [""]
    rate = gflop / row.median
    return [
        f"{row.median:.3f} s",
        f"{min(row.seconds):.3f} s",
        f"{max(row.seconds):.3f} s",
        f"{rate:.0f}",
        f"{100 * rate / peak['gflops']:.0f}%" if peak else "not measured",
        f"{row.median / ours.median:.2f}" if ours else "",
        f"{row.peak_bytes / 1e6:.0f} MB" if row.peak_bytes else "not measured",
    ]


def agreement_cells(agreement):
    if agreement is None:
        return ["the reference", "", ""]
    return [
        f"{agreement.worst_nmse:.1e}",
        f"{agreement.worst_pooled_cosine:.5f}",
        f"{agreement.worst_frame_cosine:.4f}",
    ]


def row_json(row):
    times = {"median": row.median}
    if row.seconds:
        times |= {"min": min(row.seconds), "max": max(row.seconds)}
    return asdict(row) | times
