"""The Java process, and the two ways in which it plays the original engine.

==================== =========================================================================================
``jvm``              starts the process, shares it among all simulators, replaces it when it is dead
``installation``     finds what pip has installed: the engine's jar, py4j's jar, Java
``jars``             what the process loads: the engine's jar in two halves, and our own classes
``py4j_connection``  the connection of one simulator
``engine_copy``      one engine inside the process, whatever its backend
``stock_copy``       the stock backend: the engine as it is, in a class loader for each simulator
``lane_copy``        the fast backend: the engine with its slow parts replaced, many simulators in a class loader
``lanes``            which simulators share a class loader, and whose turn it is
``engine_patch``     which methods of the engine the fast backend replaces
``class_file``       changes methods of compiled Java classes
``src/``             our Java classes; ``scripts/sciworld_jars.py`` compiles them
``classes/``         the same, compiled, for users without a compiler
==================== =========================================================================================
"""
