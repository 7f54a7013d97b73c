"""The class `Catalogue`: search in a folder that `mert-search add` keeps."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import _native
from ._arrays import ArrayLike, as_layers, as_numpy


class SearchResult(dict[str, Any]):
    """An answer as `mert-search query --json` has it, with `hits`, `notes` and what was left out."""

    @property
    def hits(self) -> list[dict[str, Any]]:
        """A dictionary for each hit, the best first: `file`, `cosine`, `percentile`, `passage` and more."""
        return self["hits"]

    def to_arrow(self) -> Any:
        """The hits as a `pyarrow.Table` of `rank`, `file`, `title`, `artist`, `cosine`, `score`, `percentile`, and
        `start` and `end` of passages."""
        import pyarrow as pa

        def column(name: str, kind: Any) -> Any:
            return pa.array([hit.get(name) for hit in self.hits], kind)

        def bound(index: int) -> Any:
            return pa.array([(hit.get("passage") or (None, None))[index] for hit in self.hits], pa.float64())

        return pa.table(
            {
                "rank": pa.array(range(1, len(self.hits) + 1), pa.int64()),
                "file": column("file", pa.string()),
                "title": column("title", pa.string()),
                "artist": column("artist", pa.string()),
                "cosine": column("cosine", pa.float64()),
                "score": column("score", pa.float64()),
                "percentile": column("percentile", pa.float64()),
                "start": bound(0),
                "end": bound(1),
            }
        )

    def to_pandas(self) -> Any:
        """The hits as a `pandas.DataFrame`, with the columns of `to_arrow`."""
        return self.to_arrow().to_pandas()


class Catalogue:
    """A catalogue of music, open for reading.

    `Catalogue(path)` opens the folder that `mert-search add` made; `CatalogueError` says what is wrong with one. Another
    process may go on adding to it: open it again to see that.
    """

    added: dict[str, Any]
    """How many tracks `from_tables` added, replaced and refused; of a catalogue that it returned."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._native = _native.Catalogue(os.fspath(path))

    @classmethod
    def from_tables(
        cls,
        path: str | os.PathLike[str],
        tables: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        tags: bool = True,
    ) -> Catalogue:
        """The catalogue at `path`, which is made if it is not there, with the rows of `tables`, files that
        `Encoder.write` or `mert-embed` wrote. Rows that it has are left as they are, so that the same call is harmless.

        `tags` reads the digests and tags of the files that are here. `added` of the result says how many tracks were
        added, replaced and refused.
        """
        tables = [tables] if isinstance(tables, (str, os.PathLike)) else tables
        added = _native.add_tables(os.fspath(path), [os.fspath(table) for table in tables], tags)
        catalogue = cls(path)
        catalogue.added = added
        return catalogue

    @property
    def path(self) -> str:
        """The folder."""
        return os.fspath(self._native.path)

    @property
    def columns(self) -> list[str]:
        """The names of the columns that `where` knows beside `file` and `duration`."""
        return self._native.columns

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The hidden states that a row of the catalogue has one after the other, each with its length."""
        return self._native.groups

    @property
    def notes(self) -> list[str]:
        """Sentences about what was repaired or left out as the catalogue was opened."""
        return self._native.notes

    def __reduce__(self) -> tuple[Any, ...]:
        return Catalogue, (self.path,)

    def __repr__(self) -> str:
        return f"Catalogue({self.path!r}, {len(self)} tracks)"

    def __len__(self) -> int:
        return len(self._native.tracks())

    def tracks(self) -> list[str]:
        """The paths of all tracks."""
        return [file for _, file, _ in self._native.tracks()]

    def search(
        self,
        seeds: str | os.PathLike[str] | ArrayLike,
        *,
        minus: str | os.PathLike[str] | ArrayLike = (),
        top: int = 10,
        where: str | None = None,
        level: str = "tracks",
        variety: float = 0.0,
        layers: str | int | Iterable[int] | None = None,
        center: bool = True,
        per_artist: int | None = None,
        per_album: int | None = None,
        versions: bool = True,
        compressed_above: int | None = None,
        random_seed: int = 0,
        reasons: bool = False,
        model: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
        quiet: bool = False,
    ) -> SearchResult:
        """What sounds like some tracks, passages or vectors, exactly.

        Parameters
        ----------
        seeds
            A seed or a list of them. A seed is the path of a track or a part of its name that no other has; a file that is
            not in the catalogue, which is embedded with the catalogue's model; a passage of either such as
            `"song.mp3@1:20-1:35"`; or vectors `(dim,)` or `(segments, dim)` as long as a row of the catalogue, or one
            `(layers, dim)`: what `Encoder.encode` returns with the catalogue's model, layers and pooling.
        minus
            Seeds that hits should be unlike.
        top
            The number of hits.
        where
            A filter, such as `"bpm 90..110 and artist != seed.artist"`, of columns that the catalogue has.
        level
            `"tracks"`, or `"passages"` for the nearest passage of each.
        variety
            How much a hit has to be unlike those before it, from 0 to 1.
        layers
            The hidden states and their weights, such as `"6"` or `"1:0.2,6:0.5"`; all of the catalogue without it.
        center
            True subtracts the catalogue's mean first.
        per_artist, per_album
            The most hits by one artist (3 without it) and from one album (2); 0 for any number.
        versions
            True lists the versions of a recording with one hit.
        compressed_above
            The number of vectors above which compressed ones are searched first, which can miss a hit: how many, is
            measured and in the notes. 0: never.
        random_seed
            The seed of the random pairs that percentiles refer to.
        reasons
            True adds the reasons of each hit, as `mert-search why` has them.
        model
            The model that embeds files outside the catalogue, or a list of the models if its rows have the vectors of
            several; the one that the catalogue was made with without it. It stays open for the next search.
        quiet
            True prints nothing about downloads on standard error.

        Returns
        -------
        SearchResult
            A dictionary with `hits`; `to_arrow()` and `to_pandas()` make tables of them.

        Raises
        ------
        ValueError
            For a seed that no track or file or several tracks match, and for other arguments that cannot be used.
        AudioError
            For a file outside the catalogue that cannot be embedded.
        ModelError
            If such a file needs the model, and it is not found or is another than the catalogue's.
        """
        models = [model] if isinstance(model, (str, os.PathLike)) else list(model)
        widths = [width for _, width in self.groups]
        pairs = [(_seed(seed, widths), 1.0) for seed in _list(seeds)]
        pairs += [(_seed(seed, widths), -1.0) for seed in _list(minus)]
        for name, value in (("top", top), ("per_artist", per_artist), ("per_album", per_album), ("random_seed", random_seed)):
            if value is not None and value < 0:
                raise ValueError(f"{name}: {value}, expected 0 or more")
        return SearchResult(
            self._native.search(
                pairs,
                top=top,
                filter=where,
                level=level,
                variety=variety,
                layers=None if layers is None else as_layers(layers),
                center=center,
                per_artist=per_artist,
                per_album=per_album,
                versions=versions,
                compressed_above=_native.COMPRESSED_ABOVE if compressed_above is None else compressed_above,
                random_seed=random_seed,
                reasons=reasons,
                model=[os.fspath(path) for path in models],
                quiet=quiet,
            )
        )


def _list(seeds: Any) -> list[Any]:
    """One seed, which a text, a path or an array of numbers is, or several, as a list."""
    is_array = (hasattr(seeds, "__array__") or hasattr(seeds, "__dlpack__")) and as_numpy(seeds).dtype.kind in "fiu"
    if isinstance(seeds, (list, tuple)) and seeds and all(isinstance(value, (int, float)) for value in seeds):
        return [np.asarray(seeds)]
    return [seeds] if isinstance(seeds, (str, os.PathLike)) or is_array else list(seeds)


def _seed(seed: Any, widths: list[int]) -> Any:
    """A text, or vectors `(segments, dim)` for a catalogue whose rows have vectors of these widths, one after the other."""
    if isinstance(seed, (str, os.PathLike)):
        return os.fspath(seed)
    vectors = as_numpy(seed)
    if vectors.dtype.kind not in "fiu" or vectors.ndim not in (1, 2):
        raise ValueError(
            f"a seed has the shape {vectors.shape} and the type {vectors.dtype}, expected numbers (dim,) or (segments, dim)"
        )
    if len(widths) > 1 and vectors.shape == (len(widths), widths[0]) and len(set(widths)) == 1:
        vectors = vectors.reshape(-1)
    vectors = np.atleast_2d(vectors).astype(np.float32)
    if not np.any(vectors, axis=1).all():
        raise ValueError("a seed has a vector of zeros, which has no direction")
    return np.ascontiguousarray(vectors)
