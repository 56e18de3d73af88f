"""The few-shot noise of PTNL: of each class's shots, an exact number are outsiders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.exceptions import InputError, gather
from ..core.validation import FloatArray, IntArray, check_choice, check_number
from .labels import check_given_labels
from .noise import NoisyLabels

FEW_SHOT_KINDS = ("symmetric", "confusion")


@dataclass(frozen=True, eq=False)
class FewShotNoise:
    """A few-shot set with wrong labels.

    Parameters
    ----------
    rows : ndarray of int64, shape (M,)
        The chosen rows, ascending, each once.
    labels : ndarray of int64, shape (M,)
        Their given labels.
    n_wrong : int
        How many of them are wrong.
    notes : tuple of str
        Where the counts asked for could not be met, or confusions had to be stretched.
    """

    rows: IntArray
    labels: IntArray
    n_wrong: int
    notes: tuple[str, ...] = ()

    def noisy_labels(self, before: IntArray, n_classes: int, *, rate: float) -> NoisyLabels:
        """The chosen rows in the form of the other kinds, to be written down.

        Parameters
        ----------
        before : ndarray of int64, shape (M,)
            Labels of the chosen rows before noise.
        n_classes : int
            K.
        rate : float
            The share of wrong labels that was asked for.
        """
        counts = np.zeros((n_classes, n_classes))
        np.add.at(counts, (before, self.labels), 1)
        sizes = counts.sum(axis=1, keepdims=True)
        shares = np.where(sizes > 0, counts / np.maximum(sizes, 1), np.eye(n_classes))
        realised = self.n_wrong / max(1, len(self.rows))
        return NoisyLabels(
            self.labels, "few-shot", rate, realised, realised, shares, shares, self.notes
        )


def few_shot_noisy(
    labels: Any,
    shots: int = 16,
    n_wrong: int = 4,
    *,
    kind: str = "symmetric",
    confusions: Any = None,
    n_classes: int | None = None,
    random_state: Any,
) -> FewShotNoise:
    """Draw `shots` rows a class, of which `n_wrong` are images of other classes.

    The classes stay balanced: each name stands on exactly `shots` rows. No row is drawn twice, so
    no image carries two names and the noise rate is exactly ``n_wrong / shots``.

    Parameters
    ----------
    labels : array of int, shape (N,)
        Labels that are taken for true; -1 (missing) is never drawn.
    shots : int
        Rows with the name of a class.
    n_wrong : int
        How many of them are outsiders, in 0..shots.
    kind : {"symmetric", "confusion"}
        "symmetric" draws outsiders from all images of other classes. "confusion" takes images that
        a model confuses with the class: it favours that class most among the wrong ones.
    confusions : array, shape (N, K) or (N,), optional
        For "confusion": logits of a model, such as zero-shot; or the favoured wrong class itself.
    n_classes : int, optional
        K; by default one more than the largest label, or the columns of `confusions`.
    random_state : int or numpy.random.Generator

    Returns
    -------
    FewShotNoise

    Raises
    ------
    InputError
        If a number, the kind or the confusions cannot be used.

    Notes
    -----
    Wu et al., "Why Is Prompt Tuning for Vision-Language Models Robust to Noisy Labels?", ICCV
    2023. Their code draws with replacement and from one half of the images each, which raises the
    noise rate of small classes; here nothing is repeated. Two rules for what is too small:

    - A class with fewer than ``shots - n_wrong`` images of its own takes all of them, and outsiders
      in the same proportion (rounded), so that its noise rate is kept.
    - Where the images that are left over do not suffice, classes get fewer outsiders.

    With "confusion", where fewer images than needed favour a class, those follow that have it as
    their second choice among the wrong classes, and so on. Both are told in `notes`.

    Examples
    --------
    >>> drawn = few_shot_noisy([0, 0, 0, 1, 1, 1], shots=2, n_wrong=1, random_state=0)
    >>> np.bincount(drawn.labels).tolist(), drawn.n_wrong
    ([2, 2], 2)
    """
    from ..core.random import numpy_generator  # imports torch

    true, ranks = _check(labels, shots, n_wrong, kind, confusions, n_classes)
    generator = numpy_generator(random_state)
    order = generator.permutation(np.flatnonzero(true >= 0))
    groups = [order[true[order] == k] for k in range(ranks.shape[1])]
    own = [rows[: shots - n_wrong] for rows in groups]
    wanted = np.array([_share(len(rows), shots, n_wrong) for rows in own])
    pool = np.concatenate([rows[len(kept) :] for rows, kept in zip(groups, own, strict=True)])
    taken = _outsiders(true, ranks, generator.permutation(pool), wanted, generator)
    rows = np.array([*np.concatenate(own), *taken], dtype=np.int64)
    given = np.array([*true[np.concatenate(own)], *taken.values()], dtype=np.int64)
    sort = np.argsort(rows)
    notes = _notes(shots, groups, wanted, taken, ranks if kind == "confusion" else None)
    return FewShotNoise(rows[sort], given[sort], len(taken), notes)


def wrong_ranks(true: IntArray, logits: FloatArray) -> IntArray:
    """Place of each class among the wrong ones of a row, 0 for the most favoured: (N, K).

    The true class comes last, with place K - 1.
    """
    n_rows, n_classes = logits.shape
    masked = np.array(logits, dtype=np.float64)
    masked[np.arange(n_rows), true] = -np.inf
    ranks = np.empty((n_rows, n_classes), dtype=np.int64)
    order = np.argsort(-masked, axis=1, kind="stable")
    np.put_along_axis(ranks, order, np.arange(n_classes)[None], axis=1)
    return ranks


def _check(
    labels: Any, shots: int, n_wrong: int, kind: str, confusions: Any, n_classes: int | None
) -> tuple[IntArray, IntArray]:
    """Labels (N,), and how readily each row is taken for each class (N, K): 0 first."""
    check_number(shots, name="shots", low=1, integer=True)
    check_number(n_wrong, name="n_wrong", low=0, high=shots, integer=True)
    check_choice(kind, FEW_SHOT_KINDS, name="kind")
    if (kind == "confusion") != (confusions is not None):
        what = "needs confusions" if confusions is None else "does not take confusions"
        raise InputError(f"kind={kind!r} {what}: logits (N, K), or the favoured wrong class (N,)")
    table = None if confusions is None else np.asarray(confusions)
    n = _count_classes(labels, table) if n_classes is None else n_classes
    check_number(n, name="n_classes", low=2, integer=True)
    true = check_given_labels(labels, n)
    if not (true >= 0).any():
        raise InputError(
            f"shots are drawn by their labels, but none of the {len(true):,} images has one "
            "(or can be read, where a model's confusions decide); name the column of the labels"
        )
    if table is None:
        return true, np.zeros((len(true), n), dtype=np.int64)
    return true, _confusion_ranks(true, table, n)


def _count_classes(labels: Any, table: Any) -> int:
    if table is not None and table.ndim == 2:
        return int(table.shape[1])
    array = np.asarray(labels)
    return int(array.max(initial=1)) + 1 if array.dtype.kind in "iu" else 2


def _confusion_ranks(true: IntArray, table: Any, n_classes: int) -> IntArray:
    problems = []
    if table.shape not in ((len(true),), (len(true), n_classes)):
        problems.append(
            f"expected shape ({len(true)}, {n_classes}) or ({len(true)},), but got {table.shape}"
        )
    elif table.ndim == 2 and not np.isfinite(table).all():
        problems.append("there are NaN or infinite values; leave rows that cannot be read out")
    gather(problems, what="confusions")
    if table.ndim == 2:
        return wrong_ranks(true, table)
    named = check_given_labels(table, n_classes)
    return (named[:, None] != np.arange(n_classes)).astype(np.int64)


def _share(n_own: int, shots: int, n_wrong: int) -> int:
    """Outsiders of a class with `n_own` images of its own, at the nominal rate."""
    if n_own == shots - n_wrong:
        return n_wrong
    return round(n_own * n_wrong / (shots - n_wrong))


def _outsiders(
    true: IntArray,
    ranks: IntArray,
    pool: IntArray,
    wanted: IntArray,
    generator: np.random.Generator,
) -> dict[int, int]:
    """Row -> wrong label: first choices first, classes in random order, then by exchange."""
    free = np.zeros(len(true), dtype=bool)
    free[pool] = True
    missing, taken = wanted.copy(), {}
    for rank in range(int(ranks[pool].max(initial=0)) + 1):
        for k in generator.permutation(np.flatnonzero(missing)).tolist():
            fits = pool[free[pool] & (true[pool] != k) & (ranks[pool, k] == rank)]
            chosen = fits[: missing[k]]
            free[chosen] = False
            missing[k] -= len(chosen)
            taken.update(dict.fromkeys(chosen.tolist(), k))
    for k in np.flatnonzero(missing).tolist():
        _exchange(true, pool[free[pool]], k, int(missing[k]), taken)
    return taken


def _exchange(true: IntArray, left: IntArray, k: int, n: int, taken: dict[int, int]) -> None:
    """Only images of class k itself are left for k: give them to others, and take theirs."""
    others = [row for row, label in taken.items() if label != k and true[row] != k]
    for row, own in zip(others[:n], left.tolist(), strict=False):
        taken[own], taken[row] = taken[row], k


def _notes(
    shots: int,
    groups: list[IntArray],
    wanted: IntArray,
    taken: dict[int, int],
    ranks: IntArray | None,
) -> tuple[str, ...]:
    notes = []
    got = np.bincount(list(taken.values()), minlength=len(groups)).astype(int)
    small = [k for k, rows in enumerate(groups) if len(rows) + wanted[k] < shots]
    if small:
        notes.append(
            f"{len(small)} of {len(groups)} classes have too few images for {shots} shots and "
            "get fewer, with the same share of wrong ones"
        )
    if (got < wanted).any():
        notes.append(
            f"only {got.sum()} of {wanted.sum()} wrong shots could be drawn, since no more images "
            "of other classes are left over"
        )
    if ranks is not None:
        stretched = sum(ranks[row, label] > 0 for row, label in taken.items())
        if stretched:
            notes.append(
                f"{stretched} of {len(taken)} wrong shots are not the first choice among the wrong "
                "classes, since too few images are"
            )
    return tuple(notes)
