"""Anomalies in brain MRI by ensembled cold-diffusion restorations."""
