"""Scores, percentiles, choices and paths of a catalogue, from its Parquet tables."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from .chacha import below


@dataclass
class Options:
    """The options of a search, with mert-search's defaults."""

    top: int = 10
    keep: np.ndarray | None = None
    variety: float = 0.0
    per_artist: int = 3
    per_album: int = 2
    artist_gap: int = 1
    album_gap: int = 1
    version_distance: float = 0.01
    version_seconds: float = 3.0
    versions: bool = True
    csls: bool = False
    blend: dict[str, float] = field(default_factory=dict)


class Reference:
    """A catalogue in a geometry."""

    def __init__(self, folder: Path, weights: dict[str, float], center: bool = True, drop: int = 0):
        manifest = json.loads((folder / "catalogue.json").read_text())
        (part,) = manifest["parts"]
        part_folder = folder / "parts" / part["name"]
        (tracks_name,) = [name for name in part["files"] if name != "rows.parquet"]
        self.columns = pq.read_table(part_folder / tracks_name).to_pydict()
        rows = pq.read_table(part_folder / "rows.parquet")
        files = rows["file"].to_pylist()
        self.times = list(zip(rows["start"].to_pylist(), rows["end"].to_pylist()))
        self.starts = [0] + [row for row in range(1, len(files)) if files[row] != files[row - 1]] + [len(files)]
        self.tracks = len(self.starts) - 1
        self.duration = np.array(self.columns["duration"])
        self.weights = np.array(list(weights.values())) / sum(weights.values())
        self.groups = []
        for name in weights:
            column = rows[f"hidden_state_{name}"].combine_chunks()
            segments = np.asarray(column.values).reshape(len(files), -1).astype(np.float64)
            means = [segments[a:b].sum(axis=0) / (b - a) for a, b in zip(self.starts, self.starts[1:])]
            tracks = np.array(means).astype(np.float32).astype(np.float64)
            mean = segments.mean(axis=0)
            projection = np.eye(segments.shape[1])
            if drop:
                _, vectors = np.linalg.eigh((segments - mean).T @ (segments - mean))
                dropped = vectors[:, -drop:]
                projection -= dropped @ dropped.T
            offset = mean if center else 0.0
            self.groups.append(((segments - offset) @ projection, (tracks - offset) @ projection))
        units = [np.sqrt(weight) * unit(group[1]) for weight, group in zip(self.weights, self.groups)]
        placed = np.concatenate(units, axis=1)
        self.similarities = placed @ placed.T
        self.artist = self.credits("artist", "album_artist")
        titles = self.text("album")
        owners = [a or b for a, b in zip(self.text("album_artist"), self.text("artist"))]
        self.album = [None if title is None else (title, owner) for title, owner in zip(titles, owners)]

    def text(self, column: str) -> list:
        """The first text of each track in lower case, or None."""
        values = self.columns.get(column, [None] * self.tracks)
        return [None if not value else value[0].lower() for value in values]

    def numbers(self, column: str) -> np.ndarray:
        """A column of numbers, unknown ones as NaN."""
        return np.array([np.nan if value is None else value for value in self.columns[column]], dtype=float)

    def credits(self, *columns: str) -> list:
        found = [None] * self.tracks
        for column in reversed(columns):
            found = [new if new is not None else old for new, old in zip(self.text(column), found)]
        return found

    def units(self, level: str) -> list[np.ndarray]:
        """For each weighted group the rows, scaled to length 1."""
        return [unit(group[level == "tracks"]) for group in self.groups]

    def query(self, seeds: list[tuple[np.ndarray, float]]) -> list[np.ndarray]:
        """The point of seeds: for each the centred vectors by group, and a weight."""
        points = []
        for group in range(len(self.groups)):
            if len(seeds) == 1:
                points.append(unit(seeds[0][0][group]))
            else:
                points.append(unit(sum(weight * unit(vectors[group]) for vectors, weight in seeds)))
        return points

    def track(self, track: int) -> list[np.ndarray]:
        """The centred vectors of a track."""
        return [group[1][track] for group in self.groups]

    def terms(self, query: list[np.ndarray], level: str = "tracks") -> np.ndarray:
        """The terms of all rows: (groups, rows)."""
        units = self.units(level)
        return np.array([weight * (rows @ point) for weight, rows, point in zip(self.weights, units, query)])

    def pairs(self, seed: int, level: str = "tracks") -> tuple[list[int], list[int], np.ndarray]:
        """The sampled tracks, the row of each, and the pairs by different artists as indices of them."""
        draw = below(seed)
        tracks = list(range(self.tracks))
        assert self.tracks <= 2048
        rows = tracks
        if level == "passages":
            rows = [self.starts[track] + draw(self.starts[track + 1] - self.starts[track]) for track in tracks]

        def other(a: int, b: int) -> bool:
            return self.artist[a] is None or self.artist[a] != self.artist[b]

        pairs = [(a, b) for a in tracks for b in tracks[a + 1 :] if other(a, b)]
        if len(pairs) > 20_000:
            # Floyd's algorithm: numbers of pairs without replacement.
            drawn = set()
            for last in range(len(pairs) - 20_000, len(pairs)):
                number = draw(last + 1)
                drawn.add(last if number in drawn else number)
            pairs = [pairs[number] for number in sorted(drawn)]
        return tracks, rows, np.array(pairs)

    def pair_terms(self, seed: int, level: str = "tracks") -> np.ndarray:
        """The terms of the random pairs: (groups, pairs)."""
        _, rows, pairs = self.pairs(seed, level)
        units = [group[rows] for group in self.units("tracks" if level == "tracks" else "segments")]
        return np.array([
            weight * np.einsum("ij,ij->i", group[pairs[:, 0]], group[pairs[:, 1]])
            for weight, group in zip(self.weights, units)
        ])

    def search(self, query: list[np.ndarray], seeds: list[int], options: Options) -> list[dict]:
        """The hits of a search, at most of 2,000 tracks."""
        cosine = self.terms(query).sum(axis=0)
        keep = np.ones(self.tracks, bool) if options.keep is None else options.keep.copy()
        keep[seeds] = False
        rows = np.flatnonzero(keep)
        score = cosine.copy()
        if options.csls:
            score = 2 * cosine - density(cosine) - np.array([density(row) for row in self.similarities])
        if options.blend:
            score = (1 - sum(map(abs, options.blend.values()))) * standard(cosine, rows)
            for column, weight in options.blend.items():
                numbers = self.numbers(column)
                score = score + weight * np.nan_to_num(standard(numbers, rows[~np.isnan(numbers[rows])]))
        ranking = sorted(rows, key=lambda row: (-score[row], row))
        choices, versions, of_seeds = [], {}, []
        for row in ranking:
            near = [] if not options.versions else [s for s in seeds if self.is_version(s, row, options)]
            if near:
                of_seeds.append(row)
                continue
            same = [c for c in choices if options.versions and self.is_version(c, row, options)]
            if same:
                versions[same[0]].append(row)
                continue
            choices.append(row)
            versions[row] = []
        if not choices:
            choices, versions = list(of_seeds), {row: [] for row in of_seeds}
        chosen = self.choose(choices, score, options)
        return [{"track": row, "cosine": cosine[row], "score": score[row], "versions": versions[row]} for row in chosen]

    def is_version(self, a: int, b: int, options: Options) -> bool:
        near = abs(self.duration[a] - self.duration[b]) <= options.version_seconds
        return bool(near) and 1 - self.similarity(a, b) <= options.version_distance

    def similarity(self, a: int, b: int) -> float:
        return float(self.similarities[a, b])

    def choose(self, choices: list[int], score: np.ndarray, options: Options) -> list[int]:
        if options.variety > 0:
            choices = choices[: max(200, 10 * options.top)]
        chosen: list[int] = []
        stages = [(options.per_artist, options.per_album, options.artist_gap, options.album_gap)]
        stages += [(options.per_artist, options.per_album, 0, 0), (0, 0, 0, 0)]
        for per_artist, per_album, artist_gap, album_gap in stages:
            passed = -1
            while len(chosen) < options.top:
                def allowed(row: int) -> bool:
                    rules = (self.artist, per_artist, artist_gap), (self.album, per_album, album_gap)
                    for credit, most, gap in rules:
                        if credit[row] is None:
                            continue
                        same = [credit[other] == credit[row] for other in chosen]
                        if (most and sum(same) >= most) or any(same[len(same) - min(gap, len(same)) :]):
                            return False
                    return True

                free = [i for i, row in enumerate(choices) if row not in chosen and i > passed and allowed(row)]
                if not free:
                    break
                if options.variety > 0:
                    def value(index: int) -> float:
                        if not chosen:
                            return score[choices[index]]
                        nearest = max(self.similarity(choices[index], other) for other in chosen)
                        return (1 - options.variety) * score[choices[index]] - options.variety * nearest
                    best = max(free, key=lambda index: (value(index), -index))
                else:
                    best = passed = free[0]
                chosen.append(choices[best])
        return chosen if options.variety > 0 else [row for row in choices if row in chosen]

    def path(self, start: int, end: int, steps: int) -> list[int]:
        """The tracks of a path, without versions of each other."""
        used, ends = [start, end], (self.track(start), self.track(end))
        for step in range(1, steps + 1):
            place = step / (steps + 1)
            cosine = self.terms(self.query([(ends[0], 1 - place), (ends[1], place)])).sum(axis=0)
            ranking = sorted(range(self.tracks), key=lambda row: (-cosine[row], row))
            free = (r for r in ranking if r not in used and not any(self.is_version(u, r, Options()) for u in used))
            used.append(next(free))
        return [start] + used[2:] + [end]


def density(cosines: np.ndarray) -> float:
    """What CSLS subtracts: the mean of the 10 largest cosines, copies of the point itself left out."""
    return float(np.sort(cosines[cosines < 1 - 1e-9])[-10:].mean())


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors scaled to length 1; zero stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def standard(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Values less the mean of some, in their standard deviations."""
    deviation = values[rows].std()
    return (values - values[rows].mean()) / deviation if deviation > 0 else 0 * values
