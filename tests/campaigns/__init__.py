"""Long attacks on the whole program, run as commands (`make fuzz`, `make kills`)."""
