"""Live progress of background jobs: one line in the worker, one hook in the page."""
