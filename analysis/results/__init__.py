"""Results folders, read and made into the one tidy table."""
