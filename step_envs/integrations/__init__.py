"""Our worlds inside other tools: a module for each, which translates and adds nothing to worlds, prompts or scores.

================ =====================================================================
A module needs the package of its tool and is imported by name; this package imports none of them.
"""
