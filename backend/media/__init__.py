"""Medical file formats: reading, de-identification, limits, and writing with provenance marks."""
