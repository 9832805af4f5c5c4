"""What any file is, what is in it, and what is wrong with it."""
