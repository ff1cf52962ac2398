"""ScienceWorld: elementary-school science in a simulated house, on the original engine.

================= ============================================================================================
``env``           the Gymnasium environment ``STeP-SciWorld-v0``
``engine``        the original engine as one Python object, which survives the death of its Java process
``tasks``         the 30 tasks, their variations, splits and step limits; the simplifications
``oracle``        plans and thoughts from the state of an episode, by either expert
``expert``        an expert that has to see things before it uses them
``thoughts``      words a thought for an action
``prompt``        the instructions for a language model
``download``      reports the official data, which pip has installed with the engine
``java/``         the Java process, the connection to it, and isolated engine copies inside it
``planning/``     plans: looked up, compressed, executed by trial, and made again for an agent that has left them
``data/``         ETO's lists of tasks; plans that come with the package
================= ============================================================================================
"""
