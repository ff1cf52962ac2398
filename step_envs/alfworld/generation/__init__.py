"""Generated households: games made by seed, distributed like the official ones."""
