"""Training recipes: a data reader, the method's own fit, and a model card."""
