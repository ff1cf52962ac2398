"""The official vocabulary: all types of furniture and things, which thing may be put where, and what can be done with it.

Types are spelled as in official files here (``CounterTop``). In facts and in the engine they are lower case and end in
``type`` (``countertoptype``); in observations they are lower case only (``countertop 1``).
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ACCEPTS: dict[str, frozenset[str]] = {
    "ArmChair": _words("""
        Book Box CellPhone Cloth CreditCard KeyChain Laptop Newspaper Pillow RemoteControl
    """),
    "BathtubBasin": _words("Cloth DishSponge HandTowel SoapBar"),
    "Bed": _words("BaseballBat BasketBall Book CellPhone Laptop Pillow TennisRacket"),
    "Cabinet": _words("""
        Book Bowl Box CD Candle Cloth Cup DishSponge Glassbottle HandTowel Kettle Ladle Mug Newspaper
        Pan PepperShaker Plate Plunger Pot SaltShaker SoapBar SoapBottle SprayBottle TissueBox
        ToiletPaper Vase WateringCan WineBottle
    """),
    "Cart": _words("""
        Candle Cloth DishSponge HandTowel Plunger SoapBar SoapBottle SprayBottle TissueBox ToiletPaper
    """),
    "CoffeeMachine": _words("Mug"),
    "CoffeeTable": _words("""
        Book Bowl Box Candle CellPhone CreditCard KeyChain Laptop Newspaper Pen Pencil Plate
        RemoteControl Statue TissueBox Vase Watch WateringCan
    """),
    "CounterTop": _words("""
        AlarmClock Apple Book Bowl Bread ButterKnife CD Candle CellPhone Cloth CreditCard Cup DishSponge
        Egg Fork Glassbottle HandTowel Kettle KeyChain Knife Ladle Laptop Lettuce Mug Pan Pen Pencil
        PepperShaker Plate Pot Potato RemoteControl SaltShaker SoapBar SoapBottle Spatula Spoon
        SprayBottle Statue TissueBox ToiletPaper Tomato Vase WineBottle
    """),
    "Desk": _words("""
        AlarmClock BasketBall Book Bowl Box CD CellPhone Cloth CreditCard KeyChain Laptop Mug Pen Pencil
        RemoteControl Statue TennisRacket TissueBox Vase Watch WateringCan
    """),
    "DiningTable": _words("""
        AlarmClock Apple BaseballBat BasketBall Book Bowl Box Bread ButterKnife CD Candle CellPhone
        Cloth CreditCard Cup DishSponge Egg Fork Glassbottle Kettle KeyChain Knife Ladle Laptop Lettuce
        Mug Newspaper Pan Pen Pencil PepperShaker Plate Pot Potato RemoteControl SaltShaker SoapBottle
        Spatula Spoon SprayBottle Statue TennisRacket TissueBox Tomato Vase Watch WateringCan WineBottle
    """),
    "Drawer": _words("""
        Book ButterKnife CD Candle CellPhone Cloth CreditCard DishSponge Fork HandTowel KeyChain Knife
        Ladle Newspaper Pen Pencil PepperShaker RemoteControl SaltShaker SoapBar SoapBottle Spatula
        Spoon SprayBottle TissueBox ToiletPaper Watch WateringCan
    """),
    "Dresser": _words("""
        AlarmClock BasketBall Book Bowl Box CD Candle CellPhone Cloth CreditCard KeyChain Laptop Mug
        Newspaper Pen Pencil Plate RemoteControl SprayBottle Statue TennisRacket TissueBox ToiletPaper
        Vase Watch WateringCan
    """),
    "Fridge": _words("""
        Apple Bowl Bread Cup Egg Glassbottle Lettuce Mug Pan Plate Pot Potato Tomato WineBottle
    """),
    "GarbageCan": _words("""
        Apple Bread CD Cloth DishSponge Egg HandTowel Lettuce Newspaper Pen Pencil Potato SoapBar
        SoapBottle SprayBottle TissueBox ToiletPaper Tomato WineBottle
    """),
    "HandTowelHolder": _words("HandTowel"),
    "LaundryHamper": _words("Cloth"),
    "Microwave": _words("Apple Bowl Bread Cup Egg Glassbottle Mug Plate Potato Tomato"),
    "Ottoman": _words("""
        Book Box CellPhone CreditCard KeyChain Laptop Newspaper Pillow RemoteControl
    """),
    "Safe": _words("CD CellPhone CreditCard KeyChain Statue Vase Watch"),
    "Shelf": _words("""
        AlarmClock Book Bowl Box CD Candle CellPhone Cloth CreditCard Cup DishSponge Glassbottle
        HandTowel Kettle KeyChain Mug Newspaper Pen Pencil PepperShaker Plate Pot RemoteControl
        SaltShaker SoapBar SoapBottle SprayBottle Statue TissueBox ToiletPaper Vase Watch WateringCan
        WineBottle
    """),
    "SideTable": _words("""
        AlarmClock Apple BaseballBat BasketBall Book Bowl Box Bread ButterKnife CD Candle CellPhone
        Cloth CreditCard Cup DishSponge Egg Fork HandTowel Kettle KeyChain Knife Laptop Lettuce Mug
        Newspaper Pan Pen Pencil PepperShaker Plate Pot Potato RemoteControl SaltShaker SoapBar
        SoapBottle Spatula Spoon SprayBottle Statue TennisRacket TissueBox ToiletPaper Tomato Vase Watch
        WateringCan WineBottle
    """),
    "SinkBasin": _words("""
        Apple Bowl ButterKnife Cloth Cup DishSponge Egg Fork Glassbottle HandTowel Kettle Knife Ladle
        Lettuce Mug Pan Plate Pot Potato SoapBar Spatula Spoon Tomato
    """),
    "Sofa": _words("""
        Book Box CellPhone CreditCard KeyChain Laptop Newspaper Pillow RemoteControl
    """),
    "StoveBurner": _words("Kettle Pan Pot"),
    "TVStand": _words("TissueBox"),
    "Toilet": _words("""
        Candle Cloth DishSponge HandTowel SoapBar SoapBottle SprayBottle TissueBox ToiletPaper
    """),
    "ToiletPaperHanger": _words("ToiletPaper"),
    "TowelHolder": _words("Towel"),
    "Toaster": frozenset(),
}
"""Receptacle type -> types of things that may be put there, any number of them."""

RECEPTACLES = tuple(sorted(ACCEPTS))
"""All types of receptacles."""

THINGS = tuple(
    sorted(
        _words("""
    AlarmClock Apple BaseballBat BasketBall Bathtub Blinds Book Boots Bowl Box Bread ButterKnife CD
    Candle CellPhone Chair Cloth CreditCard Cup Curtains DeskLamp DishSponge Egg FloorLamp Footstool
    Fork Glassbottle HandTowel HousePlant Kettle KeyChain Knife Ladle Laptop LaundryHamperLid Lettuce
    LightSwitch Mirror Mug Newspaper Painting Pan PaperTowel PaperTowelRoll Pen Pencil PepperShaker
    Pillow Plate Plunger Poster Pot Potato RemoteControl SaltShaker ScrubBrush ShowerDoor ShowerGlass
    Sink SoapBar SoapBottle Spatula Spoon SprayBottle Statue StoveKnob TeddyBear Television TennisRacket
    TissueBox ToiletPaper ToiletPaperRoll Tomato Towel Vase Watch WateringCan Window WineBottle
""")
    )
)
"""All types of things."""

CLEANABLE = _words("""
    Apple Bowl ButterKnife Cloth Cup DishSponge Egg Fork Kettle Knife Ladle Lettuce Mug Pan Plate Pot
    Potato SoapBar Spatula Spoon Tomato
""")
"""Things that can be cleaned in a sink."""

HEATABLE = _words("""
    Apple Bread Cup Egg Mug Plate Potato Tomato
""")
"""Things that can be heated in a microwave."""

COOLABLE = _words("""
    Apple Bowl Bread Cup Egg Lettuce Mug Pan Plate Pot Potato Tomato WineBottle
""")
"""Things that can be cooled in a fridge."""

SLICEABLE = _words("""
    Apple Bread Egg Lettuce Potato Tomato
""")
"""Things that can be sliced with a knife."""

TOGGLEABLE = _words("""
    DeskLamp FloorLamp
""")
"""Things that can be switched on."""

VESSELS = _words("""
    Bowl Box Cup Mug Pan Plate Pot
""")
"""Things that can hold other things."""

FIXED = _words("""
    Bathtub Blinds Chair Curtains DeskLamp FloorLamp HousePlant LaundryHamperLid LightSwitch Mirror
    Painting Poster ShowerDoor ShowerGlass Sink StoveKnob Television Window Footstool
""")
"""Things that cannot be picked up."""

OPENABLE = _words("Cabinet Drawer Fridge Microwave Safe")
"""Receptacles that can have a door. Every fridge and microwave has one; of the others, some are open surfaces."""


def fact_type(name: str) -> str:
    """Spell a type as in facts and in the engine: ``CounterTop`` becomes ``countertoptype``."""
    return f"{name.lower()}type"
