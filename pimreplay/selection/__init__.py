"""What policies share: what a step sees, choosing the best, clusters, overheads, recall."""
