"""The process and its surroundings: files, sandbox, warnings, the operating system."""
