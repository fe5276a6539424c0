"""Turns in the shapes that providers take, a module for each."""
