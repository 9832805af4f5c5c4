"""Keras files in and out, without Keras: nothing here imports Keras, and no code from a file is ever run."""
