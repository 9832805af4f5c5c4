"""One module a verb of the command line, and what they share."""
