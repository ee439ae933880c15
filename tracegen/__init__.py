"""Capture a real LLM's per-step queries, keys and values into a trace folder."""
