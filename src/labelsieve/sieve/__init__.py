"""Layer 8: the whole pipeline as one object, and as one folder of results."""

from .label_sieve import LabelSieve
from .scan import ScanResult, scan

__all__ = ["LabelSieve", "ScanResult", "scan"]
