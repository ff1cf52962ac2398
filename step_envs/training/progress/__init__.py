"""The progress estimator of SPA-RL: rows of episodes, and training on their outcomes."""
