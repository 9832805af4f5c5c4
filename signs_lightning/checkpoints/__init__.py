"""Checkpoints as files: found, loaded without running code, checked, written."""
