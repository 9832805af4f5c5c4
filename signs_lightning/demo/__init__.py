"""The web page that classifies pictures."""
