"""The review of whatever scan is in the folder now: after a rescan, of the new one."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from ..core.exceptions import LabelSieveError
from .refit import Refit
from .session import HIDDEN, ReviewSession

logger = logging.getLogger(__name__)


class LiveReview:
    """Holds the session, and makes a new one when the folder's scan has been replaced.

    The new session keeps the file of the decisions and the row numbers, so that a decision that is
    on its way while sessions change means the same image.

    Parameters
    ----------
    folder : Path
        Output folder of a scan.
    reviewer : str
        The name that pages begin with.

    Attributes
    ----------
    session : ReviewSession
        Of the scan as it was last seen.
    refit : Refit
        The scan that a page asks for.
    """

    def __init__(self, folder: Path, *, reviewer: str = ""):
        self._record = folder / "run.json"
        self._stamp = self._seen()
        self.session = ReviewSession(folder, reviewer=reviewer)
        self.refit = Refit(folder, folder / HIDDEN)
        self._lock = threading.Lock()

    def fresh(self) -> ReviewSession:
        """The session, a new one when there is a new scan of the same images."""
        with self._lock:
            stamp = self._seen()
            if stamp is not None and stamp != self._stamp:
                self._stamp = stamp
                self._renew()
        return self.session

    def progress(self) -> dict[str, Any]:
        """Progress of the present session, and the state of the refit."""
        return self.fresh().progress() | {"refit": self.refit.status()}

    def changes(self, since: int) -> dict[str, Any]:
        """Changed rows; see `ReviewSession.changes`."""
        found = self.fresh().changes(since)
        found["progress"]["refit"] = self.refit.status()
        return found

    def start_refit(self) -> dict[str, Any]:
        """Scan again with the decisions; returns the state."""
        self.refit.start(self.session.run)
        return self.refit.status()

    def close(self) -> None:
        """End a refit and close the file of the decisions."""
        self.refit.stop()
        self.session.close()

    def _renew(self) -> None:
        old = self.session
        try:
            new = ReviewSession(old.folder, reviewer=old.reviewer, store=old.store)
        except (LabelSieveError, OSError, ValueError) as error:
            logger.warning(
                "the new scan cannot be read; the review goes on with the old: %s", error
            )
            return
        if new.table.ids != old.table.ids:
            logger.warning("the new scan is of other images; start the review again to see it")
            return
        self.session = new

    def _seen(self) -> tuple[int, int] | None:
        try:
            stat = self._record.stat()
        except OSError:  # a scan is being moved into place
            return None
        return stat.st_mtime_ns, stat.st_ino
