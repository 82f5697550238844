"""The use cases of each system: plain dataclasses in, plain dataclasses out."""
