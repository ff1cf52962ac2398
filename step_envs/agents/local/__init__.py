"""A checkpoint in this process as an agent.

``agent`` is the agent; ``shared`` loads each checkpoint once; ``batch`` answers many agents in one batch; ``cache`` keeps
attention caches from turn to turn; ``model`` is the model with its tokenizer; ``checkpoint`` finds the files.

``chat_messages`` reads messages in every form, ``chat_template`` turns them into text, and ``continuation`` finds in the
text what a model would generate; training uses all three. These, ``agent`` and ``checkpoint`` can be imported without
torch.
"""
