"""Accuracy with a policy inside the model: the one place where a model runs with one."""
