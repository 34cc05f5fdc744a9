"""The scenarios, a to k. Each takes the stage, the plan and the figures that it adds to."""

from .burst import burst_on_one_run, relay_processes
from .commit_cost import cost_of_commits
from .cut_off import come_back
from .growth import more_clients
from .idle import idle_memory
from .join_storm import join_storm
from .many_runs import a_run_each
from .paced import crowd_at_a_rate, thousand_at_a_rate
from .publish_cost import cost_of_publishing

__all__ = ["SCENARIOS"]

SCENARIOS = {
    "a": ("burst, 1,000 clients on one run", burst_on_one_run),
    "b": ("1,000 clients on 10 runs, 500 messages/s", thousand_at_a_rate),
    "c": ("5,000 clients on 10 runs, 100 messages/s", crowd_at_a_rate),
    "d": ("1,000 runs with one client each, through publish_progress", a_run_each),
    "e": ("memory of 10,000 idle clients", idle_memory),
    "f": ("5,000 clients cut off at once come back with their cursors", come_back),
    "g": ("what publishing costs the task", cost_of_publishing),
    "h": ("two relay processes beside one", relay_processes),
    "i": ("growth with the number of clients", more_clients),
    "j": ("what a commit costs Redis", cost_of_commits),
    "k": ("2,000 clients subscribe to 40 runs each, at once", join_storm),
}
"""By letter: what it is, and the function that measures it."""
