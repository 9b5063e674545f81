"""What clusters held at moments: the object, and the shelf on which it stands."""
