"""The process and its surroundings: files, sandbox, warnings, system errors."""
