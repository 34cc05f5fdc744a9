"""The fan-out: from one message of Redis to any number of clients.

What a message meets on its way:

    listener.py      hears the channel, and knows when it does not
    messages.py      tells committed messages from raw ones
    hub.py           which runs are watched here; what arrived in one turn of the loop goes on together
    topics.py        one run: what follows its position is delivered, all else makes it read the log
    frames.py        an event becomes bytes, once
    subscribers.py      the bytes go to everybody who watches the run, a part of them in each turn
    gil_contention.py        threads that would have the interpreter at each of these sends
    containment.py   what fails for one of many ends there
    bounds.py        what one client may cost
    connections.py   one client's bounded queue, under any server
    direct_connection.py   the same straight on the connection; uvicorn.py hands it over after the handshake

catchups.py and joins.py bring a subscriber to where the others are; feed.py tells of changes in the list of runs.
"""

from .bounds import BEGINNINGS_AT_ONCE, ClientBounds, Meter
from .connections import Connection, QueuedConnection
from .containment import Containment, for_ever
from .frames import Batch, Frame
from .hub import Hub
from .listener import Listener
from .messages import RawMessage
from .subscribers import Subscriber

__all__ = [
    "BEGINNINGS_AT_ONCE",
    "Batch",
    "ClientBounds",
    "Connection",
    "Containment",
    "Frame",
    "Hub",
    "Listener",
    "Meter",
    "QueuedConnection",
    "RawMessage",
    "Subscriber",
    "for_ever",
]
