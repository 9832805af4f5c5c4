"""A Keras notebook or script read as text, and written as a folder that trains."""
