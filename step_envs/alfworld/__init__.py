"""ALFWorld (Shridhar et al., 2021): find, clean, heat, cool, look at and put away things in households.

The files that every world has:

============== ======================================================================================
``env``        the Gymnasium environment ``STeP-ALFWorld-v0``
``engine``     carries out commands, lists those that are possible, and tells whether the task is won
``tasks``      ids, splits and types of the official games and of generated households
``oracle``     computes plans from any state to success, and says why a step is taken
``expert``     decides the next step from observations only
``thoughts``   words the reason for a step as a sentence
``prompt``     the instruction for language models
``download``   downloads the official games
============== ======================================================================================

What only this world has:

============== ======================================================================================
``games``      official game files: where they are, what is in them, their releases
``generation`` households generated from a seed, written as official game files
``simulation`` the state of a household, the texts of observations, the original engine
``planning``   computes shortest plans
``data``       rules, wording and statistics of generated households
============== ======================================================================================
"""
