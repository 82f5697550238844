"""Tests mirror the tree: models, backend, app; browser and benchmarks stand beside them."""
