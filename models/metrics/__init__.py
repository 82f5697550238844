"""Measures shared by several systems: Betti numbers and matching, overlap."""
