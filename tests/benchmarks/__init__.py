"""Benchmarks: each system beside its peers and trivial baselines, on the same input, in one run."""
