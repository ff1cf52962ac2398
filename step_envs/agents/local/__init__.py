"""A checkpoint in this process as an agent: the model, its batch, its cache, and its chat template."""
