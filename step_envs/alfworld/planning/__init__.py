"""Planning with the knowledge of where everything is.

=========== ==================================================================
``errands`` computes a shortest plan from any state, and explains its steps
=========== ==================================================================
"""
