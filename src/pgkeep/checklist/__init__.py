"""The production checklist, with evidence for each row."""
