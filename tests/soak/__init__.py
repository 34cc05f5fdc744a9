"""Everything at once, for as long as you like: `make soak MINUTES=30`; see __main__.py."""
