"""Run a model and record what its attention reads."""
