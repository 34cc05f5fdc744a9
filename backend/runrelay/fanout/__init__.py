"""The fan-out: from one message of Redis to any number of clients.

The way of a message, in the order of the modules that it passes:

    listener.py           one task receives the channel's messages, and probes that it does
    hub.py                the runs watched in this process; messages of one turn of the loop go on together
    messages.py           parses messages: committed or raw
    frame_cutting.py      fast path: cuts the client's frame out of a committed message's bytes
    topics.py             one run: delivers the messages that follow its position; for any other it reads the log
    frames.py             makes an event's bytes for clients, once per process
    subscribers.py        sends the bytes to all of a run's subscribers, 500 in each turn of the loop
    direct_sends.py       fast path: sends by the sockets' own `send`; notices GIL contention
    connections.py        one client's bounded queue, under any server
    direct_connection.py  the same on the socket itself; uvicorn.py hands it over after the handshake

A subscriber's join: join_queue.py (turns), shared_reads.py (one read for many: single flight), catchup.py (its first
frames). repairs.py: topics that read the log again. feed.py: changes in the list of runs. bounds.py: what one client
may cost. containment.py: a failure of one run, client or message ends there. statistics.py: what may be looked at.
"""

from .bounds import CATCHUPS_AT_ONCE, ClientBounds, Meter
from .connections import Connection, QueuedConnection
from .containment import Containment, for_ever
from .frames import Batch, Frame, error_batch
from .hub import Hub
from .listener import Listener
from .messages import RawMessage
from .subscribers import Subscriber

__all__ = [
    "CATCHUPS_AT_ONCE",
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
