"""What one relay does for all, under a lease: adopt raw messages, mark stalled runs, keep the list of runs."""

from .adoption import Adopter
from .upkeep import Upkeep

__all__ = ["Adopter", "Upkeep"]
