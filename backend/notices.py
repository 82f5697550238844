"""Sentences that appear in the page and in every export, kept in one place so that they never drift apart."""

RESEARCH_ONLY = "Research use only. Not for diagnosis."
SYNTHETIC = "Synthetic image: made by a model, not acquired from a patient."
