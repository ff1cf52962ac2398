"""Preferences: pairs of better and worse replies, and training on them."""
