"""The shorts pipeline: a real short film from a prompt."""
