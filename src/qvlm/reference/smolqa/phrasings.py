"""The wordings of every question: at least eight each, none of which gives the answer away."""

from __future__ import annotations

PHRASINGS: dict[str, tuple[str, ...]] = {
    "garment": (
        "What garment is shown?", "What is in the picture?", "What piece of clothing is this?",
        "Which item of clothing do you see?", "What kind of clothing is it?",
        "Name the item in the photo.", "What would a shop call this item?",
        "What does the photograph show?", "Which product is this?", "What is this?",
    ),
    "figure_colour": (
        "What color is the shape?", "Which color does the figure have?",
        "What is the color of the shape?", "Name the color of the figure.",
        "In which color is the shape painted?", "What color do you see?",
        "Tell me the color of the shape.", "The shape has which color?",
    ),
    "figure_shape": (
        "What shape is in the picture?", "Which shape is drawn?", "Name the shape.",
        "What is the form of the figure?", "What figure do you see?",
        "Which geometric figure is this?", "What kind of shape is shown?",
        "Tell me the shape of the figure.",
    ),
    "sign_shape": (
        "What shape is the road sign?", "Which shape does the sign have?",
        "What is the form of the sign?", "Name the shape of the road sign.",
        "How is the sign shaped?", "Which form does the road sign have?",
        "Tell me the shape of the sign.", "What does the sign on the pole look like?",
    ),
    "count": (
        "How many cells are there?", "Count the cells.", "How many shapes do you see?",
        "What is the number of cells?", "How many things are in the picture?",
        "Tell me how many cells there are.", "How many objects are shown?",
        "What number of shapes is drawn?",
    ),
    "weather": (
        "What is the weather?", "Which weather does the symbol show?",
        "What kind of weather is it?", "How is the weather?", "Describe the weather in one word.",
        "What does the forecast say?", "Tell me the weather.", "Which weather is drawn?",
    ),
    "moon": (
        "Which phase is the moon in?", "What does the moon look like?",
        "Name the phase of the moon.", "What phase of the moon is shown?",
        "How much of the moon is lit?", "Which moon is in the sky?",
        "Tell me the phase of the moon.", "What kind of moon do you see?",
    ),
    "light": (
        "Which light is on?", "What color is the traffic light?",
        "What color is the traffic light showing?", "Name the color of the lit lamp.",
        "Which lamp of the traffic light is lit?", "What is the color of the signal?",
        "Which color does the signal have?", "Tell me the color of the traffic light.",
    ),
    "rule": (
        "What must the driver do?", "What does the traffic light tell us?",
        "What should the car do?", "What does the signal mean?", "What is the driver told to do?",
        "What must cars do now?", "What does the light ask drivers to do?",
        "How should the driver react?",
    ),
    "compass": (
        "In which direction does the needle point?", "Which way does the compass point?",
        "Where does the needle point?", "What direction does the compass show?",
        "Name the direction of the needle.", "Which direction is shown?",
        "Where is the compass pointing?", "Tell me the direction of the needle.",
    ),
    "state": (
        "Which state of matter is shown?", "What state of matter do the particles show?",
        "What state is the matter in?", "Name the state of matter.",
        "What do the particles form?", "Which state do you see in the box?",
        "Tell me the state of matter.", "What is in the box?",
    ),
    "chart": (
        "How do the sales change?", "What do the bars of the chart do?",
        "What is the trend of the chart?", "How do the bars develop?",
        "Describe the trend in one word.", "What are the sales doing?",
        "Which trend does the chart show?", "Tell me how the bars change.",
    ),
    "day": (
        "What kind of day does the thermometer show?", "How warm is it?",
        "What does the thermometer tell about the day?", "How does the day feel?",
        "What is the temperature like?", "Describe the day in one word.",
        "Tell me how warm the day is.", "How is the temperature?",
    ),
    "beaker": (
        "Which side has more particles?", "On which side is the solution stronger?",
        "Which beaker is more concentrated?", "Which side has the higher concentration?",
        "Where are more particles?", "Which of the two beakers holds more particles?",
        "Tell me the side with more particles.", "Which beaker has more dots?",
    ),
    "region": (
        "Which region of the map is highlighted?", "What part of the map is colored?",
        "Where is the colored region?", "Which part of the map stands out?",
        "Name the highlighted region.", "Where on the map is the marked area?",
        "Which area of the map is marked?", "Tell me the region that is highlighted.",
    ),
    "stripes": (
        "Which way do the stripes run?", "How are the flag's stripes drawn?",
        "What is the direction of the stripes?", "How do the stripes of the flag run?",
        "Name the direction of the stripes.", "How are the stripes arranged?",
        "Which direction do the stripes have?", "Tell me how the stripes run.",
    ),
}  # fmt: skip
"""Kind of question -> its wordings."""
