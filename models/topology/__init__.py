"""Topology refinement: synthesis of topological errors, the refiner, and its trivial peers."""
