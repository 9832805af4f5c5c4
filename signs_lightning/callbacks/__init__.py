"""What happens around training: checkpoints, history, progress, the run's configuration."""
