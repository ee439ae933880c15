"""The trace folder: its versioned schema, written, read, checked, imported, invented."""
