"""Bodies told to a model: guidance from files, beside ControlNets and in the text."""
