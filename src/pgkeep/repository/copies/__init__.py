"""Copies of one repository: whether two are, how one is made, and objects that go between them."""
