"""Compare the latency, energy, balance and attention recall of replayed runs."""
