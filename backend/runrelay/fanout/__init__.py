"""The fan-out: from one message of Redis to any number of clients.

What a message meets on its way:

    listener.py      hears the channel, and knows when it does not
    messages.py      tells committed messages from raw ones
    hub.py           which runs are watched here; what arrived in one turn of the loop goes on together
    topics.py        one run: what follows its position is delivered, all else makes it read the log
    frames.py        an event becomes bytes, once
    subscribers.py   the bytes go to everybody who watches the run, a part of them in each turn
    gil_contention.py  threads that would take the interpreter's lock at each of these sends
    containment.py   what fails for one of many ends there
    bounds.py        what one client may cost
    connections.py   one client's bounded queue, under any server
    direct_connection.py  the same on the socket itself; uvicorn.py hands it over after the handshake

A subscriber's join: join_queue.py (whose turn it is), shared_reads.py (one read for many), catchup.py (what it is
sent). repairs.py reads again what may have been missed. feed.py sends changes in the list of runs.
"""

from .bounds import BEGINNINGS_AT_ONCE, ClientBounds, Meter
from .connections import Connection, QueuedConnection
from .containment import Containment, for_ever
from .frames import Batch, Frame, error_batch
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
    "error_batch",
    "for_ever",
]
