"""How to act in ScienceWorld, in words for a language model."""

from dataclasses import replace

from step_envs.core import ReActFormat

_MANUAL = """\
You carry out science experiments in a text world. Its places are: kitchen, foundry, workshop, bathroom, outside, living \
room, bedroom, greenhouse, art studio, hallway. Look around, find what the experiment needs, and do what the task says.

Answer every observation with one thought and one action, in exactly this form:
Thought: why you take the next step
Action: the next step

Actions (OBJ is an object, LOC a place):
open OBJ / close OBJ: open or close a door or container
activate OBJ / deactivate OBJ: switch a device on or off
connect OBJ to OBJ / disconnect OBJ: join or part electrical components
use OBJ [on OBJ]: use a device or tool
look around: see the place you are in
look at OBJ: see an object or what it contains
look in OBJ: see what is inside a container
examine OBJ: see an object in detail
read OBJ: read a note or book
pick up OBJ / put down OBJ: take an object into or out of your inventory
move OBJ to OBJ: put an object into or onto another
pour OBJ into OBJ: pour a liquid
dunk OBJ into OBJ: dip a container into a liquid
mix OBJ: mix what is in a container
eat OBJ / flush OBJ: as it says
go to LOC: walk to a neighbouring place through an open door
teleport to LOC: be at any place at once, where the task allows it
focus on OBJ: declare the object that the task asks about; declaring a wrong one fails the task
wait: let ten time steps pass; wait1: let one pass
inventory: see what you carry
task: read the task again

When you are asked which of several objects you mean, answer with its number as the action.\
"""

REACT = ReActFormat(manual=_MANUAL, task="{instruction}")
"""In ETO's data the first turn is the task alone; the agent looks around by itself."""

BRIEF_REACT = replace(
    REACT, task="{observation}", observation_prefix="", format_error="The input must contain 'Action: '"
)
"""With ``brief=True``: the first observation holds the task, and no words stand around observations."""
