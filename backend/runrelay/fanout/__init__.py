"""The fan-out: from one message of Redis to any number of clients."""

from .adoption import Adopter
from .connections import Connection, QueuedConnection
from .frames import Batch, Frame
from .hub import Hub
from .listener import Listener
from .topics import Watcher
from .upkeep import Upkeep

__all__ = ["Adopter", "Batch", "Connection", "Frame", "Hub", "Listener", "QueuedConnection", "Upkeep", "Watcher"]
