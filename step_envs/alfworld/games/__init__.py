"""Official game files: where they are, what is in them, and which release they belong to.

============ ==================================================================
``archive``  finds and reads game files in a folder, a zip or a tar archive
``releases`` recognises the release that a game file belongs to
``pddl``     reads PDDL expressions
``problem``  reads the facts of a game file, and checks them
``game``     reads one game file into a household, which never changes
``goal``     the six kinds of goals
============ ==================================================================
"""
