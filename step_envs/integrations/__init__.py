"""Our worlds inside other tools: a module for each, which translates and adds nothing to worlds, prompts or scores.

======================= ============================================================================
``chat_tasks``          tasks as chats, for a loop that asks its model itself; most others build on it
``async_episodes``      episodes in an event loop, which a cancellation leaves whole
``areal``               a workflow for AReaL and other trainers that serve their model
``inspect_ai``          tasks, a solver and a scorer for inspect_ai
``openenv``             a server for OpenEnv's clients
``openenv_environment`` its sessions: an environment of OpenEnv around one of our worlds
``openenv_client``      the other side: a client with types
``skyrl_gym``           an environment class for SkyRL Gym, and the rows of its dataset
``token_record``        the tokens of an episode as one sequence with an exact mask
``trl``                 tools for TRL's GRPO, the rows of its dataset, and rewards by name
``trl_rollouts``        a rollout function for TRL's GRPO: the chat of our evaluation, with an exact mask
``trl_steps``           a trainer on TRL's GRPO that also compares turns from the same state
``verifiers``           a taskset for verifiers and prime-rl, and an environment that plays its tasks
``verifiers_harness``   asks the model for one reply to each user turn, in the process of verifiers
======================= ============================================================================

A module needs the package of its tool and is imported by name; this package imports none of them.
"""
