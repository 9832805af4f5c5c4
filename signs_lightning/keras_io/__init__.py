"""Reads and writes Keras files without Keras; no code from a file is run."""
