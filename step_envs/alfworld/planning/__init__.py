"""Plans in a household with full knowledge of where everything is."""
