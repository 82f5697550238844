"""Diffusion that every generator shares: noise levels, preconditioning, solvers."""
