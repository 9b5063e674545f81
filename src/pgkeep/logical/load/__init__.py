"""Loads the data of a dump into a database: tables, large objects, masks, samples."""
