"""The published methods as pure functions and modules of arrays: no files, no database, no user interface."""
