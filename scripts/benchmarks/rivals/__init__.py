"""The rivals: scripts that train one of the three models and mark its epochs."""
