"""Who is told of what, and when: messages, reminders, the digest, the ping outside."""
