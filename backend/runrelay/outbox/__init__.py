"""How events get from a worker's process to Redis: queues in memory, one thread that commits them, a spool on disk.

publisher.py   a publisher and the life of its process: started with the first event, new in a child, flushed at the end
outbox.py      events that wait in memory to be committed, within a bound
queues.py      the waiting events of one run
overflow.py    the drop policy: which events are given up when Redis is away for long
counts.py      counters, and how much waits
flusher.py     the thread that commits
wakeup.py      how that thread waits, and how it is woken
forks.py       a forked child is noticed, and begins anew
quick.py       the quick publish path, and the plain one that it must equal
scopes.py      the task that an event comes from, and so the attempt that fences it
children.py    which runs a spawned process works for
heartbeat.py   the thread that reports that the runs of this process are alive
spool/         events that do not fit in memory wait on disk
"""

from .publisher import Publisher

__all__ = ["Publisher"]
