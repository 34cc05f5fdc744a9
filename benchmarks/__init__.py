"""Benchmarks of Runrelay beside what a user would otherwise pick. See README.md."""
