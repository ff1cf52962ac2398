"""One visit to the shop: its pages, the state of the session, the instruction, and the reward of a purchase."""
