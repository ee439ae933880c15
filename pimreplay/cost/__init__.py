"""What reading a KV head's blocks costs: cycles in two fidelities, overheads, energy."""
