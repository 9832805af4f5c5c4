"""A trained model as a file for elsewhere, and such a file read back."""
