"""One module per tab; each has one ``build`` function."""
