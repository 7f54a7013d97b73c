"""What a table says: the fastest peers, those that are accurate enough, and ours beside them."""

from comparison.verification import POOLED_COSINE


def verdict(rows):
    """A paragraph for each precision in which ours ran or a peer did."""
    peers = [row for row in rows if not row.ours]
    ours = [row for row in rows if row.ours]
    lines = []
    first = next((row for row in ours if row.precision == "f32"), None)
    if first:
        lines.append(in_f32(first, [row for row in peers if row.precision == "f32"]))
    if any(row.precision != "f32" for row in rows):
        lines += reduced(ours, peers)
    return "\n\n".join(lines)


def in_f32(ours, peers):
    """The fastest peer in f32, and by how much ours is faster or slower."""
    if not peers:
        return "No peer was run."
    best = fastest(peers)
    text = (
        f"The fastest f32 peer is {best.engine} with {best.median:.3f} s. {ours.engine}: "
        f"{ours.median:.3f} s, {best.median / ours.median:.2f} times as fast."
    )
    measured = [row for row in peers if row.peak_bytes]
    if measured and ours.peak_bytes:
        least = min(measured, key=lambda row: row.peak_bytes)
        text += (
            f" The f32 peer that takes the least memory is {least.engine} with "
            f"{least.peak_bytes / 1e6:.0f} MB. {ours.engine}: {ours.peak_bytes / 1e6:.0f} MB."
        )
    return text


def reduced(ours, peers):
    lines = []
    candidates = [row for row in peers if row.precision != "f32" and not row.other_model]
    above = [pooled(row) for row in candidates if row.accepted]
    below = [pooled(row) for row in candidates if not row.accepted]
    lines.append(
        f"Peers in reduced precision with a pooled cosine above {POOLED_COSINE} on all hidden states, "
        f"the worst in brackets: {', '.join(above) or 'none'}. Not above it: {', '.join(below) or 'none'}."
    )
    bf16 = fastest([row for row in candidates if row.precision == "bf16"])
    accepted = fastest([row for row in peers if row.accepted])
    lines.append(named("bf16 peer", bf16))
    lines.append(named(f"peer of any precision that stays above {POOLED_COSINE}", accepted))
    for row in ours:
        if row.precision != "f32":
            lines.append(against(row, bf16 if row.precision == "bf16" else accepted))
    return lines


def fastest(rows):
    return min(rows, key=lambda row: row.median, default=None)


def pooled(row):
    return f"{row.engine} ({row.agreement.worst_pooled_cosine:.5f})"


def named(kind, row):
    if row is None:
        return f"No {kind} was run."
    return f"The fastest {kind} is {row.engine} with {row.median:.3f} s."


def against(ours, peer):
    """Ours beside one peer, in time and in accuracy."""
    if not ours.seconds:
        return (
            f"{ours.engine} was not timed: its worst pooled cosine is "
            f"{ours.agreement.worst_pooled_cosine:.5f}, not above {POOLED_COSINE}."
        )
    text = f"{ours.engine}: {ours.median:.3f} s"
    if peer is None:
        return text + "."
    text += f", {peer.median / ours.median:.2f} times as fast as {peer.engine}"
    mine = ours.agreement.worst_nmse
    theirs = peer.agreement.worst_nmse if peer.agreement else 0.0
    better = "better" if mine < theirs else "worse" if mine > theirs else "the same"
    return text + f"; its worst NMSE is {better} ({mine:.1e} against {theirs:.1e})."
