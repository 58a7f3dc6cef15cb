"""What is said of rough plastics: known before Mitsuba has a variant."""

COAT = ("alpha", "eta")  # parameters of a `roughplastic` that its tables depend on
REASON = "Mitsuba holds what its tables of transmitted light depend on fixed, and pbdr adds that only to a roughplastic"
REASON += " that a shape has itself or inside a twosided"
REMEDY = "Take it out of what surrounds it, use a principled BSDF instead, or detach the parameter"
