"""Layer 9: the self-contained HTML report of a scan."""

from .write import write_report

__all__ = ["write_report"]
