"""Replay one KV head: policy, layout and device, all decode steps at once."""
