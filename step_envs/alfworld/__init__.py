"""ALFWorld: households in which things are found, cleaned, heated, cooled, looked at under a lamp, and put away.

The rooms of this folder, in the order in which a game passes through them:

=============== ==============================================================================================
``download``    gets the official games, where one asks for it
``archive``     where official game files lie: folders, zips, tar archives
``tasks``       what there is to play, official or generated; splits, types, ids
``generator``   makes up households by seed, like those measured in ``households``, in the words of ``vocabulary``
``writer``      writes a household as a game file, with the rules in ``data/domain.pddl``
``releases``    which release's rules and wording a game file carries
``pddl``        reads symbolic expressions
``game``        one household as its file describes it: what never changes
``goal``        what must hold to win
``state``       what can change
``engine``      commands: what each needs, does and answers
``text``        every wording
``oracle``      the shortest way from any state
``explorer``    the way of one who has to look first
``thoughts``    why a step is taken, in words
``original``    the original engine behind the same handles
``prompt``      how to act, in words for a language model
``env``         all of this behind the contract: ``STeP-ALFWorld-v0``
=============== ==============================================================================================
"""
