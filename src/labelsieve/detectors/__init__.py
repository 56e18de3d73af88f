"""Layer 6: detectors of wrong labels, and the table of what they find."""

from .base import AbstractDetector, Detection
from .issues import LabelIssues
from .registry import DETECTORS

__all__ = ["DETECTORS", "AbstractDetector", "Detection", "LabelIssues"]
