"""The results folder: its versioned schema, its writer and its reader."""
