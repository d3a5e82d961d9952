"""Conditions a model on bodies: guidance from files, applied beside ControlNets and in the text."""
