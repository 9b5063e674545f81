"""Looks at a table in a recovered copy of the cluster and brings it back into the live one."""
