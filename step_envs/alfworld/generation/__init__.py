"""Generated households: games made from a seed, distributed like the official ones.

======================== =====================================================================================
``vocabulary``           official types of furniture and things, and what can be done with each
``household_statistics`` how official households are furnished, as counts
``household``            a household as data
``task_ids``             ids, seeds and splits of generated tasks
``generator``            makes a household from a task type, a seed and a size
``start_facts``          the facts that hold at the start of a household's game
``writer``               turns a household into a game: as an official game file, or to be played at once
======================== =====================================================================================
"""
