"""The command line, ``python -m backend``: a module for each group of commands, drawn together in ``program``."""
