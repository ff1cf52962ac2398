"""Plans in ScienceWorld: the engine's own solution, compressed, and made again for an agent that has left it.

===================== ========================================================================================
``action_history``    the state of an episode: the task and the actions so far
``replay_simulator``  a second engine, brought to any state by replay
``planner``           the plan from any state: remembered, looked up, or searched
``plan_tables``       plans from the start of tasks that come with the package
``gold_plans``        keeps other plans from the start of tasks on disk
``steps``             what an action is for; the steps of a solution
``plan_compression``  shortens the engine's own solution
``plan_executor``     executes steps in the replay simulator
``plan_progress``     which steps of a solution an agent has done
``replanning``        finds a new plan for an agent that has left the solution
``inverse_actions``   the steps that undo an action
``rooms``             the map of the house, and what a look around says about it
``thought_templates`` the sentences that thoughts are made of
===================== ========================================================================================
"""
