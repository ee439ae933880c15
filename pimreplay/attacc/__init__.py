"""One attention layer as the AttAcc simulator lays it out and emits it."""
