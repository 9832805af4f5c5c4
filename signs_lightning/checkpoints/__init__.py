"""Checkpoints as files: find them, load them without running code, check them, write them."""
