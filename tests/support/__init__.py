"""What tests of every package share: a server in a thread, services on free ports."""
