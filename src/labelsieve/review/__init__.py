"""Layer 9: the web page on which people decide about label issues."""

from .export import export_decisions
from .serve import ReviewServer
from .store import DecisionStore

__all__ = ["DecisionStore", "ReviewServer", "export_decisions"]
