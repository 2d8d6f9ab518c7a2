"""Runs all of Factorline as plain processes on loopback, without Docker."""
