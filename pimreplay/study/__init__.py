"""Many replays: points, jobs, workers, sweeps that resume."""
