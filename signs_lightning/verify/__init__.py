"""Compares two models of the same network, and finds the first layer that differs and why."""
