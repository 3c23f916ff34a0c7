"""Benchmarks: meshwg side by side with the programs users compare it with."""
