"""The summary of a scan, added up block by block."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from ..detectors.issues import ACTIONS
from ..sieve.cuts import cut_sizes, expected_cuts
from ..sieve.estimates import ErrorEstimate, expected, noise_rate
from ..sieve.summary import doubted_classes


class Tally:
    """Sums over blocks of issues; keeps 9 bytes a judged row and the worst rows.

    Parameters
    ----------
    class_names : tuple of str
        K names.
    rate_logit_sd, precision_logit_sd : float, optional
        Of the detector; see `ErrorEstimate`.
    n_first : int
        Rows to look at first that are kept whole: the lowest label scores, flagged or not.
    n_worst : int
        Rows of the issues that are kept whole.
    """

    def __init__(
        self,
        class_names: tuple[str, ...],
        rate_logit_sd: float | None = None,
        precision_logit_sd: float | None = None,
        *,
        n_first: int = 0,
        n_worst: int = 1000,
    ):
        self.class_names, self.n_first, self.n_worst = class_names, n_first, n_worst
        self.rate_logit_sd, self.precision_logit_sd = rate_logit_sd, precision_logit_sd
        self.n_images = self.n_unreadable = self.n_unlabeled = 0
        self.actions: Counter[str] = Counter()
        self.pairs: Counter[tuple[int, int]] = Counter()
        k = len(class_names)
        self.sizes, self.issues, self.into = (np.zeros(k, dtype=np.int64) for _ in range(3))
        self.judged, self.doubt = np.zeros(k, dtype=np.int64), np.zeros(k)
        self.wrong: list[np.ndarray] = []
        self.flagged: list[np.ndarray] = []
        self.scores: list[np.ndarray] = []
        self.has_probabilities = True
        self.worst = self.first = pd.DataFrame()

    def add(self, table: pd.DataFrame) -> None:
        """Count a block: the issues table with `given` and `suggested` as class indices."""
        k = len(self.class_names)
        given, suggested = table["given"].to_numpy(), table["suggested"].to_numpy()
        issue = table["is_label_issue"].to_numpy(dtype=bool)
        judged = table["label_score"].notna().to_numpy()
        clean = table["p_clean"].to_numpy(dtype=float)
        self.has_probabilities &= not np.isnan(clean[judged]).any()
        wrong = np.where(np.isnan(clean), issue.astype(float), 1.0 - clean)[judged]
        self.n_images += len(table)
        self.n_unreadable += int((table["action"] == "unreadable").sum())
        self.n_unlabeled += int((given < 0).sum())
        self.actions.update(table["action"])
        named = issue & (suggested >= 0)
        self.pairs.update(zip(given[named].tolist(), suggested[named].tolist(), strict=True))
        self.sizes += np.bincount(given[given >= 0], minlength=k)
        self.issues += np.bincount(given[issue], minlength=k)
        self.into += np.bincount(suggested[suggested >= 0], minlength=k)
        self.judged += np.bincount(given[judged], minlength=k)
        self.doubt += np.bincount(given[judged], weights=wrong, minlength=k)
        self.wrong.append(wrong.astype(np.float32))
        self.flagged.append(issue[judged])
        self.scores.append(np.asarray(table["label_score"], dtype=np.float32)[judged])
        self.worst = _lowest(self.worst, table.loc[issue], self.n_worst)
        self.first = _lowest(self.first, table.loc[judged], self.n_first)

    def budget(self) -> dict[str, Any]:
        """What the first rows should hold; see `sieve.cuts.budget_figures`."""
        wrong = 1.0 - self.first["p_clean"].to_numpy(dtype=float)
        n, total = len(wrong), float(self.doubt.sum())
        if not self.has_probabilities or not n:
            unknown = ("errors", "precision", "interval", "recall")
            return {"n": n, **dict.fromkeys(unknown)}
        figures = expected_cuts(wrong, [n], self.precision_logit_sd)[0]
        return figures | {"recall": figures["errors"] / total if total > 0 else 0.0}

    def _cuts(self, wrong: np.ndarray) -> list[dict[str, Any]]:
        """Expected figures at shares of the list, worst label score first."""
        if not self.has_probabilities:
            return []
        order = np.argsort(np.concatenate(self.scores), kind="stable")
        flagged = int(np.concatenate(self.flagged).sum())
        sizes = cut_sizes(len(order), flagged)
        return expected_cuts(wrong[order], sizes, self.precision_logit_sd)

    def summary(self, matrix: np.ndarray, notes: tuple[str, ...]) -> dict[str, Any]:
        """The content of summary.json, with the keys that `sieve.summarize` has."""
        wrong = np.concatenate(self.wrong).astype(float)
        flagged, decided = np.concatenate(self.flagged), np.zeros(len(wrong), dtype=bool)
        nothing: dict[str, dict[str, float] | None] = dict.fromkeys(
            ("reviewed_flagged", "reviewed_unflagged")
        )
        told = (self.has_probabilities, nothing, self.rate_logit_sd, self.precision_logit_sd)
        found = ErrorEstimate(wrong, flagged, decided, *told)
        names = self.class_names
        per_class = [
            {
                "class": name,
                "n": int(self.sizes[k]),
                "n_issues": int(self.issues[k]),
                "estimated_noise_rate": (
                    float(self.doubt[k] / self.judged[k]) if self.judged[k] else None
                ),
                "n_suggested_here": int(self.into[k]),
            }
            for k, name in enumerate(names)
        ]
        pairs = sorted((-n, names[g], names[s]) for (g, s), n in self.pairs.items())
        return {
            "n_images": self.n_images,
            "n_unreadable": self.n_unreadable,
            "n_unlabeled": self.n_unlabeled,
            "n_classes": len(names),
            "n_label_issues": int(flagged.sum()),
            "actions": {action: self.actions[action] for action in ACTIONS},
            "noise_rate": noise_rate(found),
            "expected": expected(found),
            "cuts": self._cuts(wrong),
            "decisions": None,
            "per_class": per_class,
            "per_pair": [{"given": g, "suggested": s, "n": -n} for n, g, s in pairs],
            "noise_matrix_diagonal_mean": float(np.diag(matrix).mean()),
            "warnings": [*notes, *doubted_classes(names, self.judged, self.issues)],
        }


def _lowest(kept: pd.DataFrame, found: pd.DataFrame, n: int) -> pd.DataFrame:
    """The `n` rows with the lowest label scores of both tables; of equal ones the earlier."""
    if n == 0 or found.empty:
        return kept
    both = found if kept.empty else pd.concat([kept, found])
    return both.iloc[np.argsort(np.asarray(both["label_score"]), kind="stable")[:n]]
