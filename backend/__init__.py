"""What SynthScope can do: use cases, jobs, store, media, weights, training. Imports no user interface."""
