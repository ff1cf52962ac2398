"""What the shop sells: products and goals on disk, search over them, and how a catalogue is imported or generated."""
