"""ALFWorld (Shridhar et al., 2021): households in which things are found, cleaned, heated, cooled, lit and put away.

================= ============================================================================================
``env``           the Gymnasium environment ``STeP-ALFWorld-v0``
``engine``        carries out commands, lists those that are possible, and tells whether the task is won
``tasks``         ids, splits and types of the official games and of generated households
``oracle``        plans and thoughts from the state of an episode, by either expert
``expert``        an expert that has to see things before it uses them
``thoughts``      words the reason for an action as a sentence
``prompt``        the instructions for a language model
``download``      downloads the official games
``games/``        official game files: where they are, what is in them, their releases
``generation/``   households generated from a seed, written as official game files
``planning/``     computes shortest plans
``simulation/``   the state of a household, the texts of observations, the original engine
``data/``         rules, wording and statistics of generated households
================= ============================================================================================
"""
