"""Our worlds inside other tools: a module for each, which translates and adds nothing to worlds, prompts or scores.

=============== =============================================================================
``chat_tasks``  tasks as chats, for a loop that asks its model itself; the others build on it
``inspect_ai``  tasks, a solver and a scorer for inspect_ai
``skyrl_gym``   an environment class for SkyRL Gym, and the rows of its dataset
=============== =============================================================================

A module needs the package of its tool and is imported by name; this package imports none of them.
"""
