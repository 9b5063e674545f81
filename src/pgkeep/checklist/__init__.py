"""What a production database needs done daily, weekly and monthly, and the proof that it was."""
