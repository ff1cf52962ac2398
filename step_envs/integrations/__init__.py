"""Our worlds inside other tools: a module for each, which translates and adds nothing to worlds, prompts or scores.

====================== ===============================================================================
``chat_tasks``         tasks as chats, for a loop that asks its model itself; most others build on it
``openenv``            a server for OpenEnv's clients; ``openenv_environment`` and ``openenv_client`` are its two sides
``skyrl_gym``          an environment class for SkyRL Gym, and the rows of its dataset
====================== ===============================================================================

A module needs the package of its tool and is imported by name; this package imports none of them.
"""
