"""The tile engine: any slide as a deep-zoom pyramid of JPEG tiles, fast, within bounded memory."""
