"""A story without a model: `storyteller.tell` makes a scenario from the prompt alone."""
