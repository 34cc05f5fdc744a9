"""How events get from a worker's process to Redis: queues in memory, one thread that commits them, a spool on disk.

publisher.py   a publisher in the life of its process: begun with the first event, anew in a child, flushed at the end
outbox.py      what waits to be committed, in memory, bounded
queues.py      what waits of one run
overflow.py    what is dropped when Redis is away for long
flusher.py     the thread that commits
wakeup.py      how that thread waits, and how it is woken
quick.py       the quick publish path, and the plain one that it must equal
scopes.py      which task an event comes from, and so which attempt fences it
heartbeat.py   the thread that says that the runs of this process are executed
spool/         what does not fit in memory waits on disk
"""

from .publisher import Publisher

__all__ = ["Publisher"]
