"""Layer 9: scans of data that outgrow one process, on engines that people have."""

from ..core.cluster import Cluster
from .scan import scan_on_ray

__all__ = ["Cluster", "scan_on_ray"]
