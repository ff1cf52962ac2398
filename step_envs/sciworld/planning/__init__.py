"""Plans in ScienceWorld: the engine's own solution, made shorter, and replanned for an agent that has left it."""
