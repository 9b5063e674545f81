"""What S3 keeps besides the newest version of an object: older ones, and how long each is locked."""
