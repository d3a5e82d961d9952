"""What goes with a person: shadows, reflections, things carried or ridden, proposed without any learned model."""
