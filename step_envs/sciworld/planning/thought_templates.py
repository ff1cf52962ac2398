"""The sentence templates of thoughts. How a template is chosen and filled in is in ``step_envs/sciworld/thoughts.py``."""

GOALS: dict[str, str] = {
    "boil": "bring the substance to a boil",
    "melt": "melt the substance",
    "freeze": "freeze the substance",
    "change-the-state-of-matter-of": "change the state of the substance",
    "use-thermometer": "measure the temperature and sort the substance by it",
    "measure-melting-point-known-substance": "measure the melting point",
    "measure-melting-point-unknown-substance": "measure the melting point of the unknown substance",
    "power-component": "power the component",
    "power-component-renewable-vs-nonrenewable-energy": "power the component with the right kind of energy",
    "test-conductivity": "find out whether it conducts electricity",
    "test-conductivity-of-unknown-substances": "find out whether the unknown substance conducts electricity",
    "find-living-thing": "find a living thing and put it where the task wants it",
    "find-non-living-thing": "find a thing that is not alive and put it where the task wants it",
    "find-plant": "find a plant and put it where the task wants it",
    "find-animal": "find an animal and put it where the task wants it",
    "grow-plant": "grow the plant from a seed",
    "grow-fruit": "grow the fruit",
    "chemistry-mix": "make the substance by mixing",
    "chemistry-mix-paint-secondary-color": "mix the paint",
    "chemistry-mix-paint-tertiary-color": "mix the paint",
    "lifespan-longest-lived": "find the animal that lives longest",
    "lifespan-shortest-lived": "find the animal with the shortest life",
    "lifespan-longest-lived-then-shortest-lived": "find the animals with the longest and the shortest life",
    "identify-life-stages-1": "follow the animal through its stages of life",
    "identify-life-stages-2": "follow the plant through its stages of life",
    "inclined-plane-determine-angle": "find out which plane is steeper",
    "inclined-plane-friction-named-surfaces": "find out which surface has more friction",
    "inclined-plane-friction-unnamed-surfaces": "find out which surface has more friction",
    "mendelian-genetics-known-plant": "find out which trait is dominant",
    "mendelian-genetics-unknown-plant": "find out which trait is dominant",
}
"""Task name -> the goal, as words that follow "to"."""

PURPOSES: tuple[tuple[str, str], ...] = (
    ("pick up", "get {thing}"),
    ("focus on", "find {thing}"),
    ("move", "move {thing} to {place}"),
    ("pour", "pour {thing} into {place}"),
    ("mix", "mix what is in {thing}"),
    ("activate", "turn on {thing}"),
    ("deactivate", "turn off {thing}"),
    ("open", "open {thing}"),
    ("close", "close {thing}"),
    ("connect", "wire up the circuit"),
    ("disconnect", "take the circuit apart"),
    ("use thermometer", "measure the temperature of {thing}"),
    ("use", "use {thing}"),
    ("read", "read {thing}"),
    ("examine", "examine {thing}"),
    ("drop", "set down {thing}"),
    ("put down", "set down {thing}"),
)
"""Verb -> the purpose of the action, as words that follow "to"."""

REASONS_TO_WAIT: dict[str, str] = {
    "heat": "it takes time for the substance to heat up",
    "cool": "it takes time for the substance to cool down",
    "grow": "the plant needs time to grow",
    "mendelian": "the plants need time to grow",
    "identify": "it takes time until the next stage of life",
    "test-conductivity": "the circuit needs a moment to settle",
    "power": "the circuit needs a moment to settle",
    "any": "this needs a little time",
}
"""Kind of task -> a reason to wait, as a clause."""

THOUGHT_TEMPLATES: dict[str, tuple[str, ...]] = {
    "cancel": (
        "That question came from something I did not mean to do. I take it back.",
        "I do not want any of these. I cancel and go on with the task.",
    ),
    "answer": (
        "I am asked which one I mean. Number {number} is the one I want.",
        "Several things match what I said; option {number} is what I had in mind.",
        "I have to say which one. Option {number} will do.",
    ),
    "travel": (
        "I need to {purpose}. I should go {to} for that.",
        "To {goal}, I have to {purpose}, so I go {to}.",
        "I want to {purpose}. For that I go {to}.",
    ),
    "travel back": (
        "I have to {purpose}, so I go back {to}.",
        "I go back {to}, where I can {purpose}.",
    ),
    "travel on": (
        "What I need next is likely to be found there, so I go {to}.",
        "I should go on {to}.",
    ),
    "search thing": (
        "I have not seen {thing} yet, so I go {to} to look for it.",
        "Where is {thing}? I have not seen it yet. I go {to} and look there.",
        "I still have to find {thing}. It may be there, so I go {to}.",
    ),
    "search": (
        "I have not seen what I need yet, so I go {to} and look around there.",
        "To {goal}, I first have to find what I need. I go {to} to look for it.",
        "I do not know yet where to find what I need. I go {to} to look.",
    ),
    "pass through": (
        "My way leads through {room}, so I go there first.",
        "I have to pass through {room} to get where I want to be.",
    ),
    "open door": (
        "I want to go on to {room}, so I need the door open.",
        "The door to {room} has to be open before I can go through.",
    ),
    "close door": (
        "I close the door to {room} so that the bees stay in here with the flowers.",
        "Nothing should get out through the door to {room}, so I close it.",
    ),
    "look around": (
        "I should see what there is {at} before I do anything.",
        "First I look around to find out what there is {at}.",
        "I do not know yet what is {at}, so I look around.",
    ),
    "look again": (
        "Some time has passed. I look around to see what has changed.",
        "I should check whether anything has happened {at}.",
        "Let me see how things look now.",
    ),
    "watch block": (
        "I watch the block on {thing} to see how far it has slid.",
        "Has the block reached the bottom yet? I look at {thing}.",
        "I keep an eye on {thing} while the time runs.",
    ),
    "examine": (
        "I want to see what state {thing} is in now.",
        "Let me take a closer look at {thing}.",
        "I check {thing} to see whether it has changed.",
    ),
    "open to put": (
        "I have to open {thing} before I can put {other} in it.",
        "{other} is to go into {thing}, so I open it first.",
    ),
    "open hive": (
        "The flowers have to be pollinated, so I let the bees out.",
        "Without bees there will be no fruit. I open the hive.",
    ),
    "open": (
        "What I need may be inside {thing}, so I open it.",
        "{thing} is closed. I open it to see what it holds.",
        "I should look inside {thing}.",
    ),
    "take": (
        "I will need {thing}, so I take it with me.",
        "I pick up {thing} to have it at hand.",
    ),
    "take to": (
        "I take {thing}, since I need it to {purpose}.",
        "To {purpose} I must have {thing} with me, so I pick it up.",
        "Here is {thing}. I pick it up so that I can {purpose}.",
    ),
    "put down": (
        "I put down {thing} here, where I can work with it.",
        "I do not need to carry {thing} now, so I set it down.",
    ),
    "focus": (
        "The task asks me to focus on this before I go on, so I focus on {thing}.",
        "This is what the task is about. I focus on {thing}.",
        "{thing} is what I was told to focus on.",
    ),
    "focus lifespan": (
        "Of the animals here, {thing} should have the {extreme} life, so I focus on it.",
        "I think that {thing} has the {extreme} lifespan of those I can see. I focus on it.",
    ),
    "focus answer": (
        "What I have found out points to {thing}, so that is my answer.",
        "I have seen enough to decide. My answer is {thing}.",
    ),
    "focus stage": (
        "This is the next stage that the task asks for. I focus on {thing}.",
        "{thing} is now at the stage I need, so I focus on it.",
    ),
    "sort by result": (
        "By what I have found out, {thing} belongs in {place}.",
        "The result tells me where it goes: I put {thing} into {place}.",
    ),
    "put in box": (
        "The task wants {thing} in {place}, so I put it there.",
        "All that is left is to put {thing} into {place}.",
    ),
    "cool": (
        "{thing} has to get cold, so I put it into {place}.",
        "In {place} it will cool down. I put {thing} there.",
    ),
    "heat": (
        "{thing} has to get hot, so I put it on {place}.",
        "{place} can heat it. I move {thing} there.",
    ),
    "fill": (
        "I need water in {thing}, so I put it into {place}.",
        "{place} can fill {thing}. I put it there.",
    ),
    "plant": (
        "{thing} needs soil to grow in, so I put it into {place}.",
        "I plant {thing} in {place}.",
    ),
    "slide": (
        "I put {thing} on {place} to see how fast it slides down.",
        "Now I let {thing} slide down {place}.",
    ),
    "move": (
        "{thing} has to be in {place} for what comes next, so I move it.",
        "To {goal}, I need {thing} in {place}.",
    ),
    "time": (
        "I start the stopwatch to time the block.",
        "I want to know how long this takes, so I start the stopwatch.",
    ),
    "time off": (
        "The block is down, so I stop the stopwatch.",
        "That is long enough. I stop the stopwatch to read the time.",
    ),
    "water on": (
        "I turn on the sink to let the water run.",
        "Water comes from the sink, so I turn it on.",
    ),
    "water off": (
        "I have enough water and turn off the sink.",
        "That is enough water. I turn the sink off again.",
    ),
    "heat on": (
        "I turn on {thing} so that it heats up.",
        "Everything is in place. Now I turn on {thing} to get the heat I need.",
    ),
    "switch on": (
        "I turn on {thing}, which I need to {goal}.",
        "{thing} has to be on, so I activate it.",
    ),
    "switch off": (
        "{thing} should not be on any more, so I turn it off.",
        "I do not need {thing} running, so I turn it off.",
    ),
    "water plant": (
        "The plant needs water, so I pour {thing} into {place}.",
        "I water {place} with {thing}.",
    ),
    "pour paint": (
        "This is one of the colors I need. I pour {thing} into {place} to mix it there.",
        "To get the color I want, {thing} has to go into {place}.",
    ),
    "pour": (
        "I need the contents of {thing} in {place}, so I pour them in.",
        "{place} is where this has to be, so I pour {thing} into it.",
    ),
    "mix": (
        "Everything is together in {thing}. Now I mix it.",
        "What is in {thing} has to be mixed to {goal}.",
    ),
    "measure": (
        "I have what I need, so I measure the temperature of {thing}.",
        "The task wants to know how warm {thing} is. I use the thermometer on it.",
    ),
    "measure on": (
        "I check the temperature of {thing} to see how far it has come.",
        "How warm is {thing} by now? I measure it.",
        "I measure {thing} to follow what the temperature does.",
    ),
    "use": (
        "I use {thing} on {target} to {goal}.",
        "{thing} is what I need for {target}, so I use it.",
    ),
    "connect": (
        "The circuit needs a link from {one} to {other}, so I connect them.",
        "Next in the circuit I join {one} and {other}.",
        "I connect {one} to {other} to bring the circuit closer to complete.",
    ),
    "disconnect": (
        "{thing} is not connected the way it should be, so I take it out of the circuit.",
        "That connection is wrong. I disconnect {thing}.",
    ),
    "read time": (
        "I read the stopwatch to see how long it took.",
        "How long did it take? I look at the stopwatch.",
    ),
    "read": (
        "{thing} may tell me what I have to know, so I read it.",
        "I should read {thing} before I go on.",
    ),
    "inventory": (
        "I want to see what I am carrying.",
        "Let me check what I have with me.",
    ),
    "task": (
        "I should read again what the task is.",
        "Let me make sure I remember the task.",
    ),
    "reset task": ("I have lost my way with this task, so I start it over.",),
    "wait": (
        "There is nothing to do right now: {reason}. I wait.",
        "I wait, since {reason}.",
        "I let some time pass, because {reason}.",
    ),
    "close": (
        "I close {thing}, since it should not stay open.",
        "{thing} should be closed for what I want to do next.",
    ),
    "other": (
        "To {goal}, I should now {doing}.",
        "The next thing I have to do is to {doing}.",
    ),
}
"""Case -> the templates for it; a seed chooses among them."""
