"""What one relay is, and what it does for all relays under a lease.

relay.py      the parts of a relay process, and its life
adoption.py   raw messages on the channel become events of their runs
reaper.py     runs whose worker is gone are marked as stalled; the list of runs is repaired
leases.py     work that one relay does for all
limits.py     how many connections there may be
settings.py   the relay's settings
"""

from .adoption import Adopter
from .limits import Limits
from .reaper import Reaper
from .relay import Relay
from .settings import Settings

__all__ = ["Adopter", "Limits", "Reaper", "Relay", "Settings"]
