"""Finds exact and near-duplicate texts among millions of rows in bounded memory.

A text is the set of 5-character pieces of its normalised form. MinHash (Broder 1997) estimates the Jaccard similarity of two sets; of each
of 128 minima one byte is kept (b-bit minwise hashing, Li & König, WWW 2010) on the disk. Rows that agree in a whole band of minima are
candidates (locality-sensitive hashing); candidates are verified by their estimate. Clusters are connected components of verified pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from luthier.core.types import SPLITS

PERMUTATIONS = 128
PIECE = 5
_SEED = 20_240
_PAIRS_A_CHECK = 50_000
_KEPT_PAIRS = 2_000_000
_NEIGHBOURS = 16
_MISSED = 0.01


def band_rows(threshold: float) -> int:
    """Minima in a band: the most that still find 99 % of the pairs at the threshold (fewer candidates to verify)."""
    for rows in (128, 64, 32, 16, 8, 4, 2):
        if (1 - threshold**rows) ** (PERMUTATIONS // rows) <= _MISSED:
            return rows
    return 1


def normalised(text: str) -> str:
    """What two texts are compared by: case and runs of white space do not count."""
    return " ".join(text.casefold().split())


def minima(texts: Sequence[str]) -> Any:
    """MinHash minima [texts, 128] uint32 of the 5-byte pieces of each text (a shorter text is one piece, padded)."""
    from rensa import RMinHash

    pieces = [normalised(text).encode("utf-8", "replace").ljust(PIECE, b"\0") for text in texts]
    flat = np.frombuffer(b"".join(pieces) + b"\0" * PIECE, dtype=np.uint8).astype(np.uint32)
    count = len(flat) - PIECE
    hashes = np.zeros(count, dtype=np.uint32)
    for offset in range(PIECE):
        hashes = hashes * np.uint32(16_777_619) + flat[offset : count + offset]
    # Finaliser of MurmurHash3: neighbouring letters must not give neighbouring hashes.
    hashes ^= hashes >> np.uint32(16)
    hashes *= np.uint32(0x85EBCA6B)
    hashes ^= hashes >> np.uint32(13)
    hashes *= np.uint32(0xC2B2AE35)
    hashes ^= hashes >> np.uint32(16)
    sizes = np.array([len(piece) for piece in pieces], dtype=np.int64)
    inside = np.ones(count, dtype=bool)
    ends = np.cumsum(sizes)
    for back in range(1, PIECE):
        inside[ends - back] = False
    offsets = np.concatenate([[0], np.cumsum(sizes - PIECE + 1)])
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes[inside].astype(np.uint64), offsets.astype(np.uint64), PERMUTATIONS, _SEED)
    return np.array(matrix.to_rows(), dtype=np.uint32).reshape(len(texts), PERMUTATIONS)


class Signatures:
    """Writes signatures (a byte a minimum) and band hashes (8 bytes a band) of rows to files in ``folder``."""

    def __init__(self, folder: Path, threshold: float) -> None:
        self.folder = folder
        self.threshold = threshold
        self.rows_a_band = band_rows(threshold)
        self.bands = PERMUTATIONS // self.rows_a_band
        self._bytes = (folder / "signatures.u8").open("wb")
        self._hashes = [(folder / f"band-{band}.u64").open("wb") for band in range(self.bands)]
        generator = np.random.default_rng(_SEED)
        self._odd = generator.integers(0, 2**63, size=(self.bands, self.rows_a_band), dtype=np.uint64) | np.uint64(1)
        self.rows = 0

    def add(self, texts: Sequence[str]) -> None:
        """The next rows' texts."""
        if not texts:
            return
        found = minima(texts)
        self._bytes.write((found & 255).astype(np.uint8).tobytes())
        parts = found.reshape(len(texts), self.bands, self.rows_a_band).astype(np.uint64)
        hashes = (parts * self._odd).sum(axis=2, dtype=np.uint64)
        hashes ^= hashes >> np.uint64(31)
        for band, file in enumerate(self._hashes):
            file.write(np.ascontiguousarray(hashes[:, band]).tobytes())
        self.rows += len(texts)

    def close(self) -> None:
        """Flushes the files."""
        for file in (self._bytes, *self._hashes):
            file.close()

    def band(self, number: int) -> Any:
        """Band hashes [rows] uint64."""
        return np.fromfile(self.folder / f"band-{number}.u64", dtype=np.uint64)

    def meeting(self, rows: Any, roles: Any) -> Iterator[Any]:
        """Pairs [n, 2] of these row numbers that share a band: each row of a later role [n] (last) with up to 16 of an earlier one."""
        for number in range(self.bands):
            runs = _in_runs(self.band(number)[rows], rows, roles)
            yield from (runs.members[pairs] for pairs in _across(runs))

    def similarity(self, left: Any, right: Any) -> Any:
        """Estimated Jaccard similarity [pairs] of rows ``left`` and ``right``."""
        estimates = np.empty(len(left), dtype=np.float32)
        for start in range(0, len(left), _PAIRS_A_CHECK):
            part = slice(start, start + _PAIRS_A_CHECK)
            # Mapped anew for each part: the pages that were touched are given back, so memory stays bounded.
            kept = np.memmap(self.folder / "signatures.u8", dtype=np.uint8, mode="r", shape=(self.rows, PERMUTATIONS))
            same = (kept[left[part]] == kept[right[part]]).mean(axis=1)
            del kept
            estimates[part] = (same - 1 / 256) / (1 - 1 / 256)
        return estimates


class Duplicates(NamedTuple):
    """``first`` [rows]: the first row with the same content; ``near`` [rows]: cluster number.

    ``pairs`` [n, 2] and ``similarity`` [n]: verified near-duplicates.
    """

    first: Any
    near: Any
    pairs: Any
    similarity: Any


def same_as_first(keys: Any) -> Any:
    """For each row the number of the first row with an equal key [rows] int64."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begins = np.empty(len(keys), dtype=bool)
    begins[:1] = True
    begins[1:] = ordered[1:] != ordered[:-1]
    first = np.empty(len(keys), dtype=np.int64)
    first[order] = order[begins][np.cumsum(begins) - 1]
    return first


class _Runs(NamedTuple):
    """Rows with equal hashes stand together, those of an earlier role first: ``members`` [n] are row numbers, ``roles`` [n] theirs.

    ``run`` [n]: the number of each one's run; ``places`` [runs]: where each run begins.
    """

    members: Any
    roles: Any
    run: Any
    places: Any


def _in_runs(hashes: Any, rows: Any, roles: Any) -> _Runs:
    order = np.lexsort((roles, hashes))
    ordered = hashes[order]
    begins = np.empty(len(ordered), dtype=bool)
    begins[:1] = True
    begins[1:] = ordered[1:] != ordered[:-1]
    return _Runs(rows[order], roles[order], np.cumsum(begins) - 1, np.nonzero(begins)[0])


def _candidates(runs: _Runs) -> Any:
    """Pairs [n, 2] of rows of one run: each with the run's first, with its next neighbours, and with rows of earlier roles."""
    members, start = runs.members, runs.places[runs.run]
    found = [members[pairs] for pairs in _across(runs)]
    live = np.nonzero(start < np.arange(len(start)))[0]
    found.append(np.stack([members[start[live]], members[live]], axis=1))
    for step in range(1, _NEIGHBOURS):
        live = live[live - start[live] > step]
        if not len(live):
            break
        found.append(np.stack([members[live - step], members[live]], axis=1))
    return np.concatenate(found)


def _across(runs: _Runs) -> Iterator[Any]:
    """Pairs [n, 2] of places in the runs: each of a later role (test) with up to 16 of an earlier one (training), spread over its run."""
    _, roles, run, places = runs
    if len(roles) == 0 or roles.min() == roles.max():
        return
    counts = [np.bincount(run[roles == role], minlength=len(places)) for role in range(len(SPLITS))]
    for earlier, later in ((0, 1), (0, 2), (1, 2)):
        theirs = np.nonzero(roles == later)[0]
        theirs = theirs[counts[earlier][run[theirs]] > 0]
        many = counts[earlier][run[theirs]]
        first = (places + sum(counts[:earlier], np.zeros_like(places)))[run[theirs]]
        for step in range(min(_NEIGHBOURS, int(many.max(initial=0)))):
            live = many > step
            yield np.stack([first[live] + step * many[live] // np.minimum(many[live], _NEIGHBOURS), theirs[live]], axis=1)


def components(rows: int, left: Any, right: Any) -> Any:
    """Cluster number of each row [rows] when ``left[i]`` and ``right[i]`` belong together."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(left), dtype=np.int8), (left, right)), shape=(rows, rows))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def find_duplicates(ids: Any, roles: Any, signatures: Signatures) -> Duplicates:
    """Exact duplicates by content id, near-duplicates by signature. Pairs across roles are always kept, others up to two million."""
    first = same_as_first(ids)
    # One row of each content in each role stands for all of them: training rows and test rows must both be seen by the gate.
    unique = np.nonzero(same_as_first(ids ^ (roles.astype(np.uint64) << np.uint64(61))) == np.arange(len(ids)))[0]
    cluster = components(len(ids), np.arange(len(ids)), first)
    kept: list[Any] = [np.empty((0, 2), dtype=np.int64)]
    kept_similarity: list[Any] = [np.empty(0, dtype=np.float32)]
    many = 0
    for band in range(signatures.bands):
        pairs = _candidates(_in_runs(signatures.band(band)[unique], unique, roles[unique]))
        across = roles[pairs[:, 0]] != roles[pairs[:, 1]]
        # Pairs inside one cluster say nothing new about clusters; they are kept only while there is room for them.
        pairs = pairs[across | (cluster[pairs[:, 0]] != cluster[pairs[:, 1]]) | (many < _KEPT_PAIRS)]
        estimates = signatures.similarity(pairs[:, 0], pairs[:, 1])
        good = estimates >= signatures.threshold
        pairs, estimates = pairs[good], estimates[good]
        if len(pairs):
            count = int(cluster.max()) + 1
            cluster = components(count, cluster[pairs[:, 0]], cluster[pairs[:, 1]])[cluster]
            kept.append(np.sort(pairs, axis=1))
            kept_similarity.append(estimates)
            codes, places = np.unique(np.concatenate(kept) @ np.array([len(ids), 1]), return_index=True)
            kept, kept_similarity = [np.concatenate(kept)[places]], [np.concatenate(kept_similarity)[places]]
            many = len(codes)
    return Duplicates(first, cluster, np.concatenate(kept), np.concatenate(kept_similarity))
