"""What a person sees: the server and the workbench page. Imports no torch."""
