"""One review: the table, the decisions and everything that a page asks about them."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ..core.exceptions import InputError
from ..core.serialization import read_json
from ..core.validation import IntArray
from ..sieve.reopen import images_of_scan
from .estimate import corrected, remaining_errors, wrong_probability
from .evidence import evidence
from .neighbours import SAME, NeighbourFinder
from .order import orders
from .overlay import CODES, Overlay, decision_entry
from .pairs import frequent_pairs
from .proposals import read_proposals
from .query import Query, matching, window
from .seed import seeded
from .store import FILE, UNDO, DecisionStore
from .table import read_issue_table
from .thumbnails import Thumbnails

HIDDEN = ".review"
MAX_REVIEWER = 80


def scan_version(folder: Path) -> str:
    """A short name of this scan, so that a browser does not mix up images of two scans."""
    return hashlib.blake2b((folder / "run.json").read_bytes(), digest_size=6).hexdigest()


def rows_key(ids: list[str]) -> str:
    """Names which image stands in which row: a page of another scan must not decide here."""
    digest = hashlib.blake2b(digest_size=8)
    for identifier in ids:
        digest.update(identifier.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


class ReviewSession:
    """The review of one scan; its methods may be called from many threads.

    Parameters
    ----------
    folder : Path
        Output folder of a scan.
    reviewer : str
        The name that pages begin with.
    store : DecisionStore, optional
        Of this folder, if it is open already.

    Raises
    ------
    InputError
        If it holds no finished scan, or decisions cannot be kept there.
    """

    def __init__(self, folder: Path, *, reviewer: str = "", store: DecisionStore | None = None):
        self.folder, self.reviewer = folder, reviewer
        images, self.problem = images_of_scan(folder)
        self.table = read_issue_table(folder)
        self.run = read_json(folder / "run.json")
        self._version = scan_version(folder)
        self._rows_key = rows_key(self.table.ids)
        self.images = images
        self.thumbnails = None if images is None else Thumbnails(images, folder / HIDDEN)
        self.store = DecisionStore(folder / FILE) if store is None else store
        self._held = seeded(self.store, folder, self.table)
        self.overlay = Overlay(self.store, self.table.ids)
        self.neighbours = NeighbourFinder(images, str(self.run.get("model", {}).get("id")))
        self._orders = orders(self.table)
        self._ranks = {name: np.argsort(rows) for name, rows in self._orders.items()}
        summary = folder / "summary.json"
        said = read_json(summary) if summary.is_file() else {}
        known, rate = said.get("decisions"), said.get("noise_rate") or {}
        self._wrong = corrected(wrong_probability(self.table), self.table.is_issue, known)
        self._model_logit_sd = rate.get("model_logit_sd")
        self._index = {name: label for label, name in enumerate(self.table.names)}
        scores = self.table.label_score
        self._sorted_scores = np.sort(scores[~np.isnan(scores)])

    def close(self) -> None:
        """Close the file of the decisions."""
        self.store.close()

    def about(self) -> dict[str, Any]:
        """What a page needs once: names, counts by label, proposals, model."""
        table, flagged = self.table, self.table.is_flagged
        data = self.run.get("data", {})
        source = str(data.get("source") or self.folder).replace("\\", "/").rstrip("/")
        return {
            "data": source.rpartition("/")[2] or source,
            "names": table.names,
            "n_classes": table.n_classes,
            "n_rows": len(table),
            "n_flagged": int(flagged.sum()),
            "given_counts": self._counts(table.given[flagged]),
            "suggested_counts": self._counts(table.suggested[flagged]),
            "actions": dict(sorted(Counter(table.action[flagged].tolist()).items())),
            "detector": table.detector,
            "model": str(self.run.get("model", {}).get("id") or ""),
            "has_images": self.images is not None,
            "problem": self.problem,
            "reviewer": self.reviewer,
            "version": self._version,
            "rows_key": self._rows_key,
        }

    def _counts(self, labels: IntArray) -> list[int]:
        return np.bincount(labels[labels >= 0], minlength=len(self.table.names)).tolist()

    def rows(self, query: Query) -> dict[str, Any]:
        """A window of the rows that pass the filters."""
        for row in (query.after, query.before):
            if row is not None:
                self.check_row(row)
        self.overlay.sync()
        order = self._orders[query.order]
        found = order[matching(self.table, query, self.overlay.codes)[order]]
        offset, shown = window(found, self._ranks[query.order], query)
        entries = [self.table.entry(int(row)) | self.overlay.entry(int(row)) for row in shown]
        return {"total": len(found), "offset": offset, "rows": entries}

    def check_row(self, row: int) -> None:
        """Raise `InputError` unless there is such a row."""
        if not 0 <= row < len(self.table):
            raise InputError(f"there is no row {row}; rows are 0..{len(self.table) - 1}")

    def row(self, row: int) -> dict[str, Any]:
        """Everything about one row: entry, decision, history, evidence, neighbours."""
        self.check_row(row)
        self.overlay.sync()
        self.neighbours.start()
        near = [self._neighbour(other, cosine) for other, cosine in self.neighbours.find(row)]
        labels = [entry["label"] for entry in near]
        table = self.table
        past = self.store.history(table.ids[row])
        return {
            **table.entry(row),
            **self.overlay.entry(row),
            "id": table.ids[row],
            "path": table.files[row],
            "evidence": evidence(table, row, labels, self._sorted_scores),
            "neighbours": {
                "status": self.neighbours.status,
                "message": self.neighbours.message,
                "rows": near,
            },
            "history": [
                decision_entry(d) | {"undo": d.action == UNDO, "by": d.reviewer} for d in past
            ],
        }

    def _neighbour(self, row: int, cosine: float) -> dict[str, Any]:
        given = int(self.table.given[row])
        return {
            "row": row,
            "label": self.overlay.label(row, given, self._index),
            "decided": bool(self.overlay.codes[row]),
            "issue": bool(self.table.is_issue[row]),
            "similarity": round(cosine, 3),
            "same": cosine >= SAME,
        }

    def pairs(self) -> list[dict[str, Any]]:
        """The most frequent (given, suggested) pairs among the flagged rows, with progress."""
        self.overlay.sync()
        return frequent_pairs(self.table, self.overlay.codes)

    def progress(self) -> dict[str, Any]:
        """How far the review is, and how many wrong labels are probably left."""
        self.overlay.sync()
        codes, flagged = self.overlay.codes, self.table.is_flagged
        firm = (codes != 0) & (codes != CODES["unsure"])
        counts = {action: int((codes == code).sum()) for action, code in CODES.items()}
        return {
            "seq": self.overlay.seq,
            "n_flagged": int(flagged.sum()),
            "n_done": int((firm & flagged).sum()),
            "n_decided": int(firm.sum()),
            "actions": counts,
            "estimate": remaining_errors(
                self._wrong,
                codes,
                flagged=flagged,
                held=self._held,
                model_logit_sd=self._model_logit_sd,
            ),
            "version": self._version,
        }

    def changes(self, since: int) -> dict[str, Any]:
        """Rows whose decision changed after an entry of the history, with progress."""
        rows = {self.overlay.rows.get(d.id): None for d in self.store.since(since)}
        progress = self.progress()
        changed = [{"row": row} | self.overlay.entry(row) for row in rows if row is not None]
        return {"rows": changed, "progress": progress}

    def decide(self, wanted: Any, reviewer: Any, key: Any = None) -> dict[str, Any]:
        """Save decisions by row number.

        Parameters
        ----------
        wanted : list of dict
            ``row``, ``action`` ("undo" takes back), ``label`` (name, for "relabel"), ``version``.
        reviewer : str
            Who decides.
        key : str, optional
            The ``rows_key`` under which the rows were shown.

        Returns
        -------
        dict
            ``saved`` and ``conflicts`` (with ``wanted``), each with row, decision and version,
            and ``progress``.

        Raises
        ------
        InputError
            If a decision is not well formed, or the rows have become those of other images; then
            none is saved.
        """
        if key is not None and key != self._rows_key:
            raise InputError(
                "the scan is now one of other images, so this row is no longer the one that was "
                "shown; load the page again"
            )
        name = reviewer.strip() if isinstance(reviewer, str) else ""
        proposals = read_proposals(wanted, self.table)
        outcome = self.store.decide(proposals, reviewer=name[:MAX_REVIEWER] or "reviewer")
        rows = self.overlay.rows
        return {
            "saved": [{"row": rows[d.id]} | decision_entry(d) for d in outcome.saved],
            "conflicts": [
                {
                    "row": rows[d.id],
                    "wanted": {"action": p.action, "label": p.label},
                    **decision_entry(d),
                }
                for p, d in outcome.conflicts
            ],
            "progress": self.progress(),
        }
