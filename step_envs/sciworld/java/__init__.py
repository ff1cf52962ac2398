"""The original engine's Java process.

==================== =========================================================================================
``jvm``              starts the process, shares it among all simulators, replaces it when it is dead
``installation``     finds what pip has installed: the engine's jar, py4j's jar, Java
``jars``             splits the engine's jar into a part that all engine copies share and a part for each
``engine_copy``      one isolated copy of the engine inside the process
``py4j_connection``  the connection of one engine copy
==================== =========================================================================================
"""
