"""What happens around training: checkpoints, history, progress, configuration."""
