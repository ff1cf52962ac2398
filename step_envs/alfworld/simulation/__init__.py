"""Parts of the native engine, and the original engine.

============== ===================================================================
``state``      the part of a household that changes, saved and restored
``admissible`` lists the commands that are possible
``state_memo`` answers about one state, kept until it changes
``goal_check`` checks whether the goal holds
``text``       the texts of observations
``original``   the original engine of the package alfworld, behind the same methods
============== ===================================================================
"""
