"""A checkpoint in this process as an agent.

``agent`` is the agent; ``shared`` loads each checkpoint once; ``batch`` answers many agents in one batch; ``cache`` keeps
attention caches from turn to turn; ``model`` is the model with its tokenizer; ``chat_template`` turns conversations into
text; ``checkpoint`` finds the files. Only ``agent``, ``chat_template`` and ``checkpoint`` can be imported without torch.
"""
