"""Pieces of the page that tabs share. A tab sees them through :class:`app.components.shell.Shell`."""
