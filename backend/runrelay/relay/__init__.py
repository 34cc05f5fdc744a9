"""One relay process, and what one relay does for all of them under a lease.

relay.py           the parts of a relay process, their start and their shutdown
settings.py        the relay's settings

limits.py          how many connections and subscriptions there may be, in total, per address, per run
half_open.py       connections without a whole request: bounds and deadlines
addresses.py       clients' addresses, and which proxies are trusted
open_files.py      how many files the process may open
returns.py         clients that reconnect to a run that has ended
snapshot_cache.py  what polling is answered from while Redis is away

leases.py          a lease in Redis: work that one relay does for all
adoption.py        raw messages on the channel become events of their runs; adoption_queue.py: those not yet committed
reaper.py          runs whose worker is gone are marked as stalled; the list of runs is repaired

senders.py         threads for pipelines' start and cancel calls to the broker
withdrawals.py     starts that could not be sent are ended
"""

from .adoption import Adopter
from .limits import Limits
from .reaper import Reaper
from .relay import Relay
from .settings import Settings

__all__ = ["Adopter", "Limits", "Reaper", "Relay", "Settings"]
