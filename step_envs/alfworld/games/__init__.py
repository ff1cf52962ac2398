"""Game files of ALFWorld: where they lie, what they hold, and which release wrote them."""
