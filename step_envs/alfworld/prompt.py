"""The instructions for a language model: what a household is, and how to act in it."""

from dataclasses import replace

from step_envs.core import ReActFormat

_MANUAL = """\
You live in a household and do chores in it, through text. You are told which furniture and appliances there are and what \
your task is. Find the things the task asks for, change them where it says so, and bring them where they belong. You can \
carry one thing at a time.

Answer every observation with one thought and one action, in exactly this form:
Thought: why you take the next step
Action: the next step

Actions (OBJ is a thing with its number, as in mug 1; REC is furniture or an appliance with its number, as in cabinet 4):
go to REC
open REC / close REC
take OBJ from REC
move OBJ to REC: put what you carry in or on it
use OBJ: switch on a lamp
clean OBJ with REC: at a sinkbasin
heat OBJ with REC: at a microwave, which may stay closed
cool OBJ with REC: at a fridge, which may stay closed
slice OBJ with OBJ: with a knife in your hand
examine REC / examine OBJ: look at it closely
look: see where you are
inventory: see what you carry

"Nothing happens." means that the action could not be done.\
"""

REACT = ReActFormat(manual=_MANUAL, task="{observation}")
"""The first observation ends with the task, so the task is not repeated."""

BRIEF_REACT = replace(REACT, observation_prefix="", format_error="The input must contain 'Action: '")
"""With ``brief=True``: no words around observations."""
